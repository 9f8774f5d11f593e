# X3D-S with an open site for attention after each of its 26 blocks (AutoX3D, Sec. 5.2.1): every group is one
# block and only the attention is a choice, so the space has 2^26 architectures, and X3D-S is the one with
# 'none' everywhere. GloRe's nodes M are not in the paper. Here they are the M at which a block's
# multiply-adds on L = T H W positions, L (5 C M + 4 M^2) + 6 M^3, give Tab. 3's FLOPs in each stage
# (docs/papers.md).
_base_ = ['super_mbconv3d.py']
model = dict(
    backbone=dict(
        space_name='x3d-s-attention',
        stages=(
            ('values', (24, ), (1, ) * 3),
            ('values', (48, ), (1, ) * 5),
            ('values', (96, ), (1, ) * 11),
            ('values', (192, ), (1, ) * 7)),
        kernels=('t3_s3', ),
        expansions=(2.25, ),
        attentions=('none', 'glore'),
        glore_nodes=(34, 93, 144, 209),
        stem_temporal_kernel=5))
