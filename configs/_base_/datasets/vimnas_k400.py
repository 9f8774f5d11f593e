# Kinetics-400 alone, as vimnas_joint.py has it (Tab. 10): batch 8 GPUs x 32 = 256.
_base_ = ['vimnas_joint.py']
train_dataloader = dict(
    batch_size=32,
    batch_sampler=dict(_delete_=True, type='JointBatchSampler'),
    dataset=dict(
        datasets=dict(_delete_=True, k400={{_base_.train_sets.k400}}),
        validation=dict(_delete_=True, k400='data/kinetics400/kinetics400_val_list_videos.txt')))
val_dataloader = dict(batch_size=32, dataset=dict(datasets=dict(_delete_=True, k400={{_base_.val_sets.k400}})))
test_dataloader = dict(
    batch_sampler=dict(_delete_=True, type='TaskByTaskBatchSampler'),
    dataset=dict(datasets=dict(_delete_=True, k400={{_base_.test_sets.k400}})))
heads = dict(_delete_=True, k400={{_base_.heads.k400}})
blending = dict(tasks=dict(_delete_=True))
