# Something-Something-V2 alone, as vimnas_joint.py has it (Tab. 10): batch 8 GPUs x 32 = 256.
_base_ = ['vimnas_joint.py']
train_dataloader = dict(
    batch_size=32,
    batch_sampler=dict(_delete_=True, type='JointBatchSampler'),
    dataset=dict(
        datasets=dict(_delete_=True, ssv2={{_base_.train_sets.ssv2}}),
        validation=dict(_delete_=True, ssv2='data/sthv2/sthv2_val_list_videos.txt')))
val_dataloader = dict(batch_size=32, dataset=dict(datasets=dict(_delete_=True, ssv2={{_base_.val_sets.ssv2}})))
test_dataloader = dict(
    batch_sampler=dict(_delete_=True, type='TaskByTaskBatchSampler'),
    dataset=dict(datasets=dict(_delete_=True, ssv2={{_base_.test_sets.ssv2}})))
heads = dict(_delete_=True, ssv2={{_base_.heads.ssv2}})
blending = dict(tasks=dict(_delete_=True, ssv2={{_base_.blending.tasks.ssv2}}))
