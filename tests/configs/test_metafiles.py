"""model-index.yml and the metafiles: every config once, our own figures right, and no score that nobody measured."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from mmnas_video.cost import Cost
from mmnas_video.entangle import find_searchable

ROOT = Path(__file__).parents[2]
FILES = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))['Import']
FAMILIES = {name: yaml.safe_load((ROOT / name).read_text(encoding='utf-8')) for name in FILES}
MODELS = {model['Name']: model for family in FAMILIES.values() for model in family['Models']}
COUNTED = {name: model for name, model in MODELS.items() if 'Parameters' in model.get('Metadata', {})}


def test_every_config_of_a_paper_has_one_entry():
    """Rejects a config that MIM cannot find, an entry whose config is gone, and two of one name."""
    folders = {Path(name).parent for name in FILES}
    documented = {path.parent.relative_to(ROOT) for path in ROOT.glob('configs/*/README.md')}
    assert folders == documented - {Path('configs/demo')}  # of no paper
    configs = sorted(str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).glob('*.py'))
    entries = [model for family in FAMILIES.values() for model in family['Models']]
    assert sorted(model['Config'] for model in entries) == configs and len(MODELS) == len(configs)
    for name, family in FAMILIES.items():
        (collection,) = family['Collections']
        assert collection['README'] == f'{Path(name).parent}/README.md'
        for model in family['Models']:
            place = Path(model['Config'])
            assert model['In Collection'] == collection['Name']
            assert place.parent == Path(name).parent and model['Name'] == f'{place.parent.name}_{place.stem}'


def test_scores_are_the_papers_and_say_so():
    """Rejects a result of ours that was not measured, and a paper's score that the family's page does not give in a
    row with that config."""
    for family in FAMILIES.values():
        rows = (ROOT / family['Collections'][0]['README']).read_text(encoding='utf-8').split('\n')
        for model in family['Models']:
            assert 'Results' not in model and 'Weights' not in model, model['Name']
            beside = [row for row in rows if row.startswith('|') and f'[`{Path(model["Config"]).name}`]' in row]
            for score in model.get('Reported In The Paper', []):
                (value,) = score['Metrics'].values()
                assert any(re.search(rf'(?<![\d.]){value}(?![\d.])', row) for row in beside), (model['Name'], value)
    assert sum(len(model.get('Reported In The Paper', [])) for model in MODELS.values()) > 60


@pytest.mark.parametrize('name', COUNTED)
def test_parameters_and_macs_are_the_closed_forms(name, load, build):
    """Rejects figures of another clip, head or depth, and those that were true of an earlier network."""
    cfg = load(COUNTED[name]['Config'].removeprefix('configs/'))
    model = build(cfg)
    _, searchable = find_searchable(model)
    assert not searchable.space.open
    used = getattr(model.cls_head, 'heads', {'': model.cls_head})[getattr(model.cls_head, 'default', '')]
    linears = [m for m in used.modules() if isinstance(m, torch.nn.Linear)]  # of several heads a clip passes one
    head = Cost(sum(m.weight.numel() for m in linears), sum(p.numel() for p in model.cls_head.parameters()))
    cost, said = searchable.cost(searchable.arch, (*cfg.cost_shape,)) + head, COUNTED[name]['Metadata']
    assert (said['MACs'], said['Parameters']) == cost
    assert said['Clip'] == ' x '.join(map(str, cfg.cost_shape))


def test_what_is_known_has_figures():
    """Rejects a network whose architecture stands in the repository and whose entry says nothing of its cost."""
    named = re.compile(r'^[^#\n]*arch=r"{3}\{\{ fileDirname \}\}/archs/\w+\.json"', re.MULTILINE)
    known = {
        name for name, model in MODELS.items() if named.search((ROOT / model['Config']).read_text(encoding='utf-8'))
    }
    assert len(known) > 8 and known <= set(COUNTED)
