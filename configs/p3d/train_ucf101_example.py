# Training: as train_ucf101.py, of an example cell: the one that configs/demo/p3d_darts.py found on the generated motion
#   videos. Neither the paper's cell nor one that was searched on UCF101: it is here so that a network can be built and
#   trained without a search.
#   python tools/train.py configs/p3d/train_ucf101_example.py
#   python tools/test.py configs/p3d/train_ucf101_example.py work_dirs/train_ucf101_example/epoch_600.pth
# Cost (computed, not run): 600 epochs x 132 steps of 72 clips; 313,805 parameters, 1.940 G MACs at 8 x 112 x 112.
# What comes out: work_dirs/train_ucf101_example/epoch_600.pth and top-1 / top-5 of one centre-cropped clip a video.
_base_ = ['train_ucf101.py']
model = dict(backbone=dict(arch=r"""{{ fileDirname }}/archs/demo_motion.json"""))
