# What every run has in common: our components, a seed, checkpoints that survive a kill, exact resume.
default_scope = 'mmaction'
custom_imports = dict(imports=['mmnas_video'], allow_failed_imports=False)
randomness = dict(seed=0)
default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20, ignore_last=False),
    log_window=dict(type='LogWindowHook', keep=10000),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=2, max_minutes=30),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sync_buffers=dict(type='SyncBuffersHook'),
    reproducible=dict(type='ReproducibleHook'),
    bad_samples=dict(type='BadSampleHook', max_bad_share=0.01),
    file_watch=dict(type='FileWatchHook'))
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
log_processor = dict(type='LogProcessor', window_size=20, by_epoch=True)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='ActionVisualizer', vis_backends=vis_backends)
log_level = 'INFO'
load_from = None
resume = False
