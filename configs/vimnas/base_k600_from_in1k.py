# Training: the VIM-NAS-B that configs/vimnas/base_in1k.py has found on images, fine-tuned on
#   Kinetics-600 with 3-D tubes from scratch (VIM-NAS, Tab. 8b column 2).
#   python tools/train.py configs/vimnas/base_k600_from_in1k.py
# An image takes the 2-D tube alone, so that search says nothing about 3-D tubes: they are TubeViT's
#   (model.backbone.tubes; docs/papers.md). They and the head are new, all else has to be in the weights of the search.
# Cost (computed, not run): 40 epochs x 1,533 steps of 256 clips (8 GPUs x 32), AdamW at 5e-5 and decay 1e-5 (Tab. 10).
#   40.9 to 80.3 M parameters, 16.9 to 111.5 G multiply-adds a clip of 32 frames, by the architecture; of yours: python
#   tools/cost.py configs/vimnas/base_k600_from_in1k.py
# What comes out: work_dirs/base_k600_from_in1k/epoch_40.pth; its top-1 and top-5:
#   python tools/test.py configs/vimnas/base_k600_from_in1k.py work_dirs/base_k600_from_in1k/epoch_40.pth
_base_ = [
    '../_base_/models/super_vit_base.py', '../_base_/datasets/vimnas_k600.py',
    '../_base_/schedules/vimnas_finetune_40e.py'
]
# in_channels is the supernet's; that of the found network takes its place when the run is built.
model = dict(
    backbone=dict(tubes='vimnas-image+tubevit', arch='work_dirs/base_in1k/search/arch.json'),
    cls_head=dict(
        _delete_=True, type='MultiTaskHead', heads={{_base_.heads}}, default='k600',
        common=dict(type='TimeSformerHead', in_channels=624, average_clips='prob')),
    data_preprocessor=dict(blending={{_base_.blending}}))
load_from = 'work_dirs/base_in1k/search/extracted.pth'
custom_hooks = [dict(type='FineTuneHook', new=['backbone.tokenizer.tubes.[123].*', 'cls_head.*'])]
optim_wrapper = dict(optimizer=dict(lr=5e-5, weight_decay=1e-5))
