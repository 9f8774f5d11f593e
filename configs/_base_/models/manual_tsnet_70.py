# Auto-TSNet's space with both streams pinned to those of Manual-TSNet-70 % (Sec. 5.4): X3D-S with SE, 3 x 3 x 3
# kernels, expansion 2.25, and widths 24, 48, 96, 192 times 1.53 (sparse) and 0.275 (dense), rounded to multiples of 8
# as X3D does it. Open are the fusions and the places of attention.
_base_ = ['super_tsnet.py']
model = dict(
    backbone=dict(
        fixed={
            '*.kernel': 't3_s3',
            '*.expansion': 2.25,
            'sparse.s1.*.channels': 40,
            'sparse.s2.*.channels': 72,
            'sparse.s3.*.channels': 144,
            'sparse.s4.*.channels': 296,
            'dense.s1.*.channels': 8,
            'dense.s2.*.channels': 16,
            'dense.s3.*.channels': 24,
            'dense.s4.*.channels': 56
        }))
