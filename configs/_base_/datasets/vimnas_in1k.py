# ImageNet alone, as vimnas_joint.py has it (Tab. 10): batch 8 GPUs x 128 = 1024.
_base_ = ['vimnas_joint.py']
train_dataloader = dict(
    batch_size=128,
    batch_sampler=dict(_delete_=True, type='JointBatchSampler'),
    dataset=dict(
        datasets=dict(_delete_=True, in1k={{_base_.train_sets.in1k}}),
        validation=dict(_delete_=True)))
val_dataloader = dict(batch_size=128, dataset=dict(datasets=dict(_delete_=True, in1k={{_base_.val_sets.in1k}})))
test_dataloader = dict(
    batch_size=64,
    batch_sampler=dict(_delete_=True, type='TaskByTaskBatchSampler'),
    dataset=dict(datasets=dict(_delete_=True, in1k={{_base_.test_sets.in1k}})))
heads = dict(_delete_=True, in1k={{_base_.heads.in1k}})
blending = dict(tasks=dict(_delete_=True, in1k={{_base_.blending.tasks.in1k}}))
auto_scale_lr = dict(base_batch_size=1024)
