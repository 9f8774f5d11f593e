# Ablation of Tab. 9b (VIM-NAS), "NAS on ViT": ablation_no_dg.py with the four tubes of TubeViT, so that the
#   transformer alone is searched (the distribution gap of Eq. 3 is in the table's last column alone).
#   python tools/search.py configs/vimnas/ablation_vit_only.py
# Cost (computed, not run): 500 epochs x 7,322 steps of 256 clips on 8 GPUs, as base_joint.py; a step is one sampled
#   network and the mixed one, which has one set of tubes.
# Space (computed): about 7.2e23 architectures.
# What comes out: work_dirs/ablation_vit_only/search/arch.json, history.jsonl, report.html, extracted.py, extracted.pth.
_base_ = ['./ablation_no_dg.py']
model = dict(backbone=dict(tubes='tubevit'))
