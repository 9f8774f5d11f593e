# ImageNet and Kinetics-400 together (Tab. 8a); otherwise as vimnas_joint.py.
_base_ = ['vimnas_joint.py']
train_dataloader = dict(
    dataset=dict(
        datasets=dict(_delete_=True, in1k={{_base_.train_sets.in1k}}, k400={{_base_.train_sets.k400}}),
        validation=dict(_delete_=True, k400='data/kinetics400/kinetics400_val_list_videos.txt')))
val_dataloader = dict(
    dataset=dict(datasets=dict(_delete_=True, in1k={{_base_.val_sets.in1k}}, k400={{_base_.val_sets.k400}})))
test_dataloader = dict(
    dataset=dict(datasets=dict(_delete_=True, in1k={{_base_.test_sets.in1k}}, k400={{_base_.test_sets.k400}})))
heads = dict(_delete_=True, in1k={{_base_.heads.in1k}}, k400={{_base_.heads.k400}})
blending = dict(tasks=dict(_delete_=True, in1k={{_base_.blending.tasks.in1k}}))
