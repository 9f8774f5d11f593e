# Baseline: TubeViT-B (Piergiovanni et al., CVPR 2023), ViT-B on the tokens of four tubes, from scratch on Kinetics-400.
#   python tools/train.py configs/vit/tubevit_base.py
# Cost (computed): 89,053,840 params, 51,687,763,968 MACs of a clip of 32 x 224 x 224. 300 epochs x 939 steps of
#   256 clips (not run).
# What comes out: work_dirs/tubevit_base/epoch_300.pth; its top-1 and top-5:
#   python tools/test.py configs/vit/tubevit_base.py work_dirs/tubevit_base/epoch_300.pth
_base_ = ['../vimnas/base_k400_retrain.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='SuperViT',
        table='tubevit-base',
        drop_path=0.1,
        arch=r"""{{ fileDirname }}/archs/tubevit_base.json"""),
    cls_head=dict(common=dict(in_channels=768)))
