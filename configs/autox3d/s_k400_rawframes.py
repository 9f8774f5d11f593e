# Training: as s_k400.py, from raw frames (JPEG folders) in the place of videos.
#   python tools/train.py configs/autox3d/s_k400_rawframes.py
#   python tools/test.py configs/autox3d/s_k400_rawframes.py work_dirs/s_k400_rawframes/epoch_300.pth
# Needs work_dirs/s_k200/search/arch.json from s_k200.py (or --cfg-options model.backbone.arch=...), and
#   data/kinetics400/rawframes_{train,val} with kinetics400_{train,val}_list_rawframes.txt.
# Cost (computed, not run): 300 epochs x 468 steps of 512 clips (64 GPUs x 8; 240,000 clips).
# What comes out: work_dirs/s_k400_rawframes/epoch_300.pth and top-1 / top-5 of 10 clips x 3 crops at 182 x
#   182.
_base_ = [
    '../_base_/models/super_mbconv3d.py', '../_base_/datasets/kinetics400_13x160_rawframes.py',
    '../_base_/schedules/autox3d_train_300e.py', '../_base_/default_runtime.py'
]
model = dict(backbone=dict(arch='work_dirs/s_k200/search/arch.json'))
