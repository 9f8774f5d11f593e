# Ablation: Manual-TSNet-70 % without fusion (Auto-TSNet, Tab. 7).
#   python tools/train.py configs/tsnet/manual_70_fusion0.py
#   python tools/test.py configs/tsnet/manual_70_fusion0.py work_dirs/manual_70_fusion0/epoch_300.pth
# Cost (computed): 7,329,478 params; 1,894,530,632 MACs at 32 x 160 x 160. The paper: 70.7 %. 300 epochs x 468 steps
#   of 512 clips (not run).
# What comes out: work_dirs/manual_70_fusion0/epoch_300.pth and top-1 / top-5 of 10 clips x 1 centre crop at 160 x 160.
_base_ = [
    '../_base_/models/super_tsnet.py', '../_base_/datasets/kinetics400_32x160_10center.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        arch=r"""{{ fileDirname }}/archs/manual_70.json""",
        replaced={
            'fusion.*': 'none'
        }))
