# Manual-TSNet (Auto-TSNet, Sec. 5.4): two X3D-S with SE and other widths, joined by time-strided convolutions after
# the second group of stages 1, 2 and 4 and the second and fourth of stage 3 (Tab. 7). The widths are the child's.
_base_ = ['super_tsnet.py']
model = dict(
    backbone=dict(
        kernels=('t3_s3', ),
        expansions=(2.25, ),
        attentions=('none', ),
        fusions=('none', 'time_strided_conv'),
        fixed={
            'fusion.*': 'none',
            'fusion.s1.g2': 'time_strided_conv',
            'fusion.s2.g2': 'time_strided_conv',
            'fusion.s3.g[24]': 'time_strided_conv',
            'fusion.s4.g2': 'time_strided_conv'
        }))
