# Mini-Kinetics-200 for training a network: 200 classes of Kinetics-400, in its folders; otherwise as
# kinetics400_13x160.py. tools/data/mini_kinetics.py writes data/kinetics400/mini200_{train,val}.txt from the
# lists of Kinetics-400.
_base_ = ['kinetics400_13x160.py']
train_dataloader = dict(dataset=dict(dataset=dict(ann_file='mini200_train.txt')))
val_dataloader = dict(dataset=dict(dataset=dict(ann_file='mini200_val.txt')))
test_dataloader = dict(dataset=dict(dataset=dict(ann_file='mini200_val.txt')))
