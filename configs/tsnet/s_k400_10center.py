# Test: Auto-TSNet-S on Kinetics-400 with 10 clips x 1 centre crop at 160 x 160 (10-Center) in the place of 30 views.
#   python tools/test.py configs/tsnet/s_k400_10center.py work_dirs/tsnet_s_k400/epoch_300.pth
# Cost (computed): 10 views a video, where s_k400.py has 30 at 182 x 182.
# What comes out: top-1 / top-5 in work_dirs/tsnet_s_k400_10center/test.json.
_base_ = ['s_k400.py']
work_dir = 'work_dirs/tsnet_s_k400_10center'  # the other families have configs of this name too
test_pipeline = [
    dict(type='DecordInit', num_threads=1),
    dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=10, target_fps=30, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 182)),
    dict(type='CenterCrop', crop_size=160),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
test_dataloader = dict(dataset=dict(dataset=dict(pipeline=test_pipeline)))
