# The union of the generated motion and scene classes (tools/data/make_demo.py): 8 that only the order of the frames
# tells apart, 8 that one frame does. Otherwise as demo_motion.py.
_base_ = ['demo_motion.py']
data_root = 'data/demo/motion_scene/'
videos = dict(_delete_=True, video='')  # the lists name files of both sets
train_dataloader = dict(dataset=dict(dataset=dict(data_root=data_root, data_prefix=videos)))
val_dataloader = dict(dataset=dict(dataset=dict(data_root=data_root, data_prefix=videos)))
test_dataloader = dict(dataset=dict(dataset=dict(data_root=data_root, data_prefix=videos)))
