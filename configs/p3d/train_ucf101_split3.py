# Training: as train_ucf101.py, on split 3 of UCF101. The cell is the one that was searched on split 1, whose training
#   list shares videos with the test list of split 3: a score here is not one of a search that saw split 3 alone.
#   python tools/train.py configs/p3d/train_ucf101_split3.py
#   python tools/test.py configs/p3d/train_ucf101_split3.py work_dirs/train_ucf101_split3/epoch_600.pth
# Cost (computed, not run): as train_ucf101.py.
# What comes out: work_dirs/train_ucf101_split3/epoch_600.pth and top-1 / top-5 of one centre-cropped clip a video.
_base_ = ['train_ucf101.py']
train_dataloader = dict(dataset=dict(dataset=dict(ann_file='ucf101_train_split_3_videos.txt')))
val_dataloader = dict(dataset=dict(dataset=dict(ann_file='ucf101_val_split_3_videos.txt')))
test_dataloader = dict(dataset=dict(dataset=dict(ann_file='ucf101_val_split_3_videos.txt')))
