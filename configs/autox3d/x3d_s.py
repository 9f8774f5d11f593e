_base_ = ['../_base_/models/super_mbconv3d.py']
model = dict(backbone=dict(arch='{{ fileDirname }}/archs/x3d.json', stem_temporal_kernel=5))
