# Baseline: AutoFormer-S (Chen et al., ICCV 2021), the published subnet of its supernet, on ImageNet.
#   python tools/train.py configs/vit/autoformer_small.py
# Cost (computed): 22,715,944 params, 4,773,931,776 MACs of an image of 224 x 224; AutoFormer's own count of 22.9 M and
#   5.172 G has its relative and learned positions. 300 epochs x 1,251 steps of 1,024 images (not run).
# What comes out: work_dirs/autoformer_small/epoch_300.pth; its top-1 and top-5:
#   python tools/test.py configs/vit/autoformer_small.py work_dirs/autoformer_small/epoch_300.pth
_base_ = ['../vimnas/small_in1k_retrain.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='SuperViT',
        space_name='autoformer-small-published',
        table=dict(
            embed_dims=(320, 384, 448), depths=(12, 13, 14), heads=(5, 6, 7), mlp_ratios=(3.0, 3.5, 4.0), head_dim=64),
        tubes='patch16',
        pool='mean',
        drop_path=0.1,
        arch=r"""{{ fileDirname }}/archs/autoformer_small.json"""),
    cls_head=dict(common=dict(in_channels=448)))
