# Baseline: AutoFormer-B (Chen et al., ICCV 2021), the published subnet of its supernet, on ImageNet.
#   python tools/train.py configs/vit/autoformer_base.py
# Cost (computed): 53,470,696 params, 11,045,397,248 MACs of an image of 224 x 224; AutoFormer's own count of 53.7 M and
#   11.708 G has its relative and learned positions. 300 epochs x 1,251 steps of 1,024 images (not run), AdamW at 1e-3
#   as AutoFormer-T and -S: VIM-NAS's 1e-5 is for searches in large spaces.
# What comes out: work_dirs/autoformer_base/epoch_300.pth; its top-1 and top-5:
#   python tools/test.py configs/vit/autoformer_base.py work_dirs/autoformer_base/epoch_300.pth
_base_ = ['../vimnas/base_in1k_retrain.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='SuperViT',
        space_name='autoformer-base-published',
        table=dict(
            embed_dims=(528, 576, 624), depths=(14, 15, 16), heads=(8, 9, 10), mlp_ratios=(3.0, 3.5, 4.0), head_dim=64),
        tubes='patch16',
        pool='mean',
        drop_path=0.1,
        arch=r"""{{ fileDirname }}/archs/autoformer_base.json"""),
    cls_head=dict(common=dict(in_channels=624)))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
