# Kinetics-400 as in kinetics400_32x160.py, but tested on 10 clips x 1 centre crop at 160 x 160: 10-Center, the default
# of Auto-TSNet's Sec. 5.2 and so that of its Tab. 4 and 6 to 8.
_base_ = ['kinetics400_32x160.py']
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
