"""How many clips the published annotation lists have, for plans that are made before the data are there."""

#: Folder and list (``data/FOLDER/LIST``) → clips, and who says so.
PUBLISHED: dict[str, tuple[int, str]] = {
    'imagenet/meta/train.txt': (1_281_167, 'ILSVRC 2012'),
    'imagenet/meta/val.txt': (50_000, 'ILSVRC 2012'),
    'kinetics400/kinetics400_train_list_videos.txt': (240_436, "MMAction2's list, the videos that could be had"),
    'kinetics400/kinetics400_train_list_rawframes.txt': (240_436, "MMAction2's list, the videos that could be had"),
    'kinetics400/kinetics400_val_list_videos.txt': (20_000, 'Kay et al., 2017: 50 a class'),
    'kinetics400/kinetics400_val_list_rawframes.txt': (20_000, 'Kay et al., 2017: 50 a class'),
    'kinetics400/mini200_train.txt': (80_000, 'Xie et al., ECCV 2018; AutoX3D, Sec. 5.1.1'),
    'kinetics400/mini200_val.txt': (5_000, 'Xie et al., ECCV 2018; AutoX3D, Sec. 5.1.1'),
    'kinetics400/mini100_train.txt': (60_000, '100 of the 400 classes, some 600 clips each'),
    'kinetics600/kinetics600_train_list_videos.txt': (392_622, 'Carreira et al., 2018'),
    'kinetics600/kinetics600_val_list_videos.txt': (30_000, 'Carreira et al., 2018: 50 a class'),
    'sthv2/sthv2_train_list_videos.txt': (168_913, 'the published V2 lists'),
    'sthv2/sthv2_val_list_videos.txt': (24_777, 'the published V2 lists'),
    'ucf101/ucf101_train_split_1_videos.txt': (9_537, 'the official split'),
    'ucf101/ucf101_train_split_2_videos.txt': (9_586, 'the official split'),
    'ucf101/ucf101_train_split_3_videos.txt': (9_624, 'the official split'),
    'ucf101/ucf101_val_split_1_videos.txt': (3_783, 'the official split'),
    'ucf101/ucf101_val_split_2_videos.txt': (3_734, 'the official split'),
    'ucf101/ucf101_val_split_3_videos.txt': (3_696, 'the official split'),
}
