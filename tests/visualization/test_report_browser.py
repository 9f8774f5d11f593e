"""The report in a real browser: it opens from disk alone, answers pointer and keys, and can be read."""

import json
import re

import pytest

from mmnas_video.space import arch_from_json, cell_space, mbconv3d_groups, tsnet_space, vit_space, vit_table, vit_tubes
from mmnas_video.visualization import write_report
from mmnas_video.visualization.arch_diagram import describe_arch
from mmnas_video.visualization.diagrams import diagram
from mmnas_video.visualization.group_glyphs import read_groups
from tests.visualization import browser as chromium
from tests.visualization.conftest import SMALL, write_search

pytest.importorskip('selenium')

from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

FEW = {'epochs': 5, 'steps': 1, 'arms': 2, 'candidates': 5}


def _spaces():
    groups = mbconv3d_groups(SMALL)
    table = vit_table(dict(embed_dims=(7, 11), depths=(2, 3), heads=(3, 5), qkv_dims=(15, 30), mlp_ratios=(1.5, 2.0)))
    tubes = vit_tubes((dict(kernels=('1x2x3', '1x3x2'), strides=('2x2x3',), offsets=('0x0x1',)),))
    return {
        'tsnet': tsnet_space({'sparse': groups, 'dense': groups}),
        'vit': vit_space(table, tubes, 'vit'),
        'p3d': cell_space(3),
    }


@pytest.fixture(scope='module')
def browser():
    driver = chromium.start()
    yield driver
    driver.quit()


@pytest.fixture(scope='module')
def pages(tmp_path_factory):
    """Path of a report by name: one search, two side by side, and one search of each other family."""
    folder = tmp_path_factory.mktemp('pages')
    for seed in (7, 11):
        write_search(folder / f'seed{seed}', seed=seed, **FEW)
    found = {'one': write_report(folder / 'seed7', png=False, drawings=12)}
    found['two'] = write_report([folder / 'seed7', folder / 'seed11'], png=False, drawings=2)
    for name, space in _spaces().items():  # their curves are drawn as the others'
        write_search(folder / name, space=space, epochs=0, candidates=3)
        found[name] = write_report(folder / name, png=False, drawings=10)
    return found


@pytest.fixture
def show(browser, pages):
    """``show('one', width=390)`` opens a report; the test fails for whatever the browser complains of."""

    def opened(name, width=1280, dark=False):
        chromium.resize(browser, width, dark=dark, touch=width < 600)
        browser.get(pages[name].as_uri())
        return browser

    chromium.console(browser)
    yield opened
    assert chromium.console(browser) == []


def point(browser, name):
    """The point of a network, by the beginning of its label."""
    return browser.find_element(By.CSS_SELECTOR, f'circle[aria-label^="{name}:"]')


def until(browser, what):
    return WebDriverWait(browser, 10, 0.05).until(what)


def centre(browser, element):
    """Scroll there, and let the page take note of it: what is pointed at is let go when it scrolls."""
    browser.execute_async_script(
        'const [element, done] = arguments; element.scrollIntoView({block: "center"});'
        'requestAnimationFrame(() => requestAnimationFrame(done))',
        element,
    )


def opened_detail(browser):
    def look(_):
        return next((box for box in browser.find_elements(By.CSS_SELECTOR, '.detail') if box.is_displayed()), None)

    return until(browser, look)


def candidate(pages, name, number):
    """Architecture and space of the n-th candidate of a search, from its files."""
    folder = pages[name].parent
    lines = [json.loads(line) for line in (folder / 'history.jsonl').read_text().splitlines()]
    from mmnas_video.visualization.recorded import read_search

    space = read_search(folder.parent).space
    line = [line for line in lines if line['kind'] == 'candidate'][number - 1]
    return space.decode(line['arch']), space, line


def test_it_opens_from_disk_and_asks_for_nothing(show, browser, pages):
    """Rejects: a script, font or picture from a network or from another file, and a script that the policy blocks."""
    browser.get_log('performance')
    show('one')
    asked = [json.loads(entry['message'])['message'] for entry in browser.get_log('performance')]
    urls = [e['params']['request']['url'] for e in asked if e['method'] == 'Network.requestWillBeSent']
    assert [url for url in urls if not url.startswith('data:')] == [pages['one'].as_uri()]
    assert browser.title == 'PARSEC on autox3d' and point(browser, 'searched').is_displayed()


def test_pointing_at_a_point_shows_its_network(show, pages):
    """Rejects: the note of a neighbour, one without the drawing, one that stays when the pointer has gone."""
    browser = show('one')
    arch, _, line = candidate(pages, 'one', 3)
    tip = browser.find_element(By.CSS_SELECTOR, '.tip')
    assert not tip.is_displayed()
    at = point(browser, 'candidate 3')
    centre(browser, at)
    ActionChains(browser).move_to_element(at).perform()
    until(browser, lambda _: tip.is_displayed() and tip.find_elements(By.CSS_SELECTOR, 'svg text'))
    assert f'{line["macs"] / 1e6:.2f} M MACs' in tip.text and f'score {line["score"]:.4g}' in tip.text
    assert describe_arch(read_groups(arch)) in tip.text
    blocks = tip.find_elements(By.CSS_SELECTOR, '[id^="tip-block:"]')
    assert [b.get_attribute('id').removeprefix('tip-block:') for b in blocks] == ['s1.g1', 's1.g2', 's2.g1']
    box = tip.rect
    view = browser.execute_script('return [scrollX, scrollY, innerWidth, innerHeight]')
    assert view[0] <= box['x'] and box['x'] + box['width'] <= view[0] + view[2]
    assert view[1] <= box['y'] and box['y'] + box['height'] <= view[1] + view[3]
    ActionChains(browser).move_to_element(browser.find_element(By.TAG_NAME, 'footer')).perform()
    assert not tip.is_displayed()


def paste(browser):
    """What the clipboard holds."""
    browser.execute_script("const a = document.createElement('textarea'); document.body.append(a); a.focus()")
    area = browser.switch_to.active_element
    area.send_keys(Keys.CONTROL, 'v')
    found = area.get_attribute('value')
    browser.execute_script('arguments[0].remove()', area)
    return found


@pytest.mark.parametrize('width', [1280, 390])
def test_a_click_opens_the_network_and_its_json_copies(show, pages, width):
    """Rejects: another network's drawing, JSON that our tools refuse, a button that copies nothing."""
    browser = show('one', width)
    arch, space, line = candidate(pages, 'one', 2)
    at = point(browser, 'candidate 2')
    centre(browser, at)
    ActionChains(browser).move_to_element(at).click().perform()
    box = opened_detail(browser)
    assert box.find_element(By.TAG_NAME, 'h3').text.startswith('candidate 2: ')
    drawn = {e.get_attribute('id').removeprefix('open-') for e in box.find_elements(By.CSS_SELECTOR, '[id^="open-"]')}
    expected = {f'block:{group}' for group in ('s1.g1', 's1.g2', 's2.g1')}
    expected |= {f'star:{g.name}' for g in read_groups(arch) if g.attention != 'none'}
    assert expected == {i for i in drawn if i.startswith(('block:', 'star:'))}
    assert [t.text for t in box.find_elements(By.CSS_SELECTOR, 'svg text') if t.text in {str(arch[n]) for n in arch}]
    box.find_element(By.CSS_SELECTOR, '.copy').click()
    until(browser, lambda _: box.find_element(By.CSS_SELECTOR, '.said').text == 'Copied')
    data = arch_from_json(paste(browser))
    assert space.check_file(data) == arch and data['cost']['macs'] == line['macs']
    box.find_element(By.CSS_SELECTOR, '.close').click()
    assert not box.is_displayed()


def test_the_keyboard_alone_is_enough(show, pages):
    """Rejects: points that Tab does not reach, or reaches one by one; arrows that leave the order of cost; an
    opened box that the focus does not follow, and that Escape does not leave."""
    browser = show('one')

    def press(*keys):
        ActionChains(browser).send_keys(*keys).perform()
        return browser.switch_to.active_element

    focus, stops = press(Keys.TAB), 1
    while focus.tag_name != 'circle':
        focus, stops = press(Keys.TAB), stops + 1
        assert stops < 40
    rows = json.loads((pages['one'].parent / 'table.json').read_text())['rows']
    best = max(rows, key=lambda row: row['top1'])['name']
    assert focus.get_attribute('aria-label').startswith(f'{best}: ')
    press(Keys.HOME)
    labels = [browser.switch_to.active_element.get_attribute('aria-label')]
    labels += [press(Keys.ARROW_RIGHT).get_attribute('aria-label') for _ in rows[1:]]
    by_cost = sorted(rows, key=lambda row: row['macs'])
    assert [label.partition(':')[0] for label in labels] == [row['name'] for row in by_cost]
    assert browser.find_element(By.CSS_SELECTOR, '.tip').is_displayed()
    up = press(Keys.ARROW_UP).get_attribute('aria-label').partition(':')[0]
    better = sorted((r for r in rows if r['top1'] > by_cost[-1]['top1']), key=lambda row: row['top1'])
    assert up == better[0]['name']
    press(Keys.ENTER)
    box = opened_detail(browser)
    assert until(browser, lambda _: browser.switch_to.active_element == box)
    assert press(Keys.TAB).text == 'Copy JSON'
    press(Keys.ENTER)
    until(browser, lambda _: box.find_element(By.CSS_SELECTOR, '.said').text == 'Copied')
    back = press(Keys.ESCAPE)
    assert not box.is_displayed() and back.get_attribute('aria-label').startswith(f'{up}: ')
    assert press(Keys.TAB).get_attribute('aria-label').startswith('candidate ')  # one stop a plot


@pytest.mark.parametrize('dark', [False, True], ids=['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 390])
@pytest.mark.parametrize('name', ['one', 'two'])
def test_it_can_be_read(show, name, width, dark):
    """Rejects: a page that is wider than the window, words under 12 pixels (9 in a picture), and text whose contrast
    with what is behind it is under 4.5 (WCAG 2, AA), folded parts and an opened network included."""
    browser = show(name, width, dark)
    browser.execute_script('document.querySelectorAll("details").forEach((d) => { d.open = true })')
    browser.execute_script("document.querySelector('circle[data-n]').focus()")
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    opened_detail(browser)
    wide, window = browser.execute_script('const e = document.documentElement; return [e.scrollWidth, e.clientWidth]')
    assert wide <= window <= width  # the window's less its scroll bar
    texts = chromium.shown_texts(browser)
    assert len(texts) > 300
    small = [t for t in texts if t[2] < {'html': 12, 'svg': 8.95}[t[0]]]
    faint = [t for t in texts if t[3] < 4.5]
    assert not small and not faint, (small[:5], faint[:5])


@pytest.mark.parametrize('dark', [False, True], ids=['light', 'dark'])
def test_lines_are_seen(show, dark):
    """Rejects: curves in the one blue for both pages, which is 3.4 to 1 on the dark one."""
    browser = show('one', dark=dark)
    path = browser.find_element(By.CSS_SELECTOR, '#macs-axes_1 path[style*="stroke: var(--blue)"]')
    card = browser.find_element(By.TAG_NAME, 'section')
    drawn, behind = path.value_of_css_property('stroke'), card.value_of_css_property('background-color')

    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r'\d+', colour)[:3]]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(drawn), luminance(behind)))
    assert (high + 0.05) / (low + 0.05) > 4.5


def test_what_matters_is_seen_on_a_phone(show):
    """Rejects: the accuracies of the table beyond the edge, curves a pixel too wide (each gets a scroll bar over its
    axis), commands that are broken to leave room for a button, and a page that begins with hashes."""
    browser = show('one', 390)
    beyond = 'return [...document.querySelectorAll(".grid .scroll")].map((box) => box.scrollWidth - box.clientWidth)'
    assert {*browser.execute_script(beyond)} == {0}
    table = browser.find_element(By.XPATH, '//h2[.="The searched network beside the alternatives"]/..//table')
    assert table.size['width'] <= table.find_element(By.XPATH, '..').size['width']
    command = browser.find_element(By.CSS_SELECTOR, '.code pre')
    inner = 'const s = getComputedStyle(arguments[0]); return parseFloat(s.paddingLeft) + parseFloat(s.paddingRight)'
    assert browser.execute_script(inner, command) < 0.1 * command.size['width']
    button = command.find_element(By.XPATH, '../button')
    top = command.location['y'] + float(command.value_of_css_property('padding-top').removesuffix('px'))
    assert button.location['y'] + button.size['height'] <= top  # and no word lies under it
    centre(browser, at := point(browser, 'candidate 3'))
    ActionChains(browser).move_to_element(at).perform()
    tip = browser.find_element(By.CSS_SELECTOR, '.tip')
    until(browser, lambda _: tip.is_displayed() and tip.find_elements(By.TAG_NAME, 'p'))
    assert not tip.find_element(By.TAG_NAME, 'svg').is_displayed()  # its words would be too small to be read
    assert 'space hash' not in browser.find_element(By.TAG_NAME, 'main').text.lower()
    browser.find_element(By.XPATH, '//summary[.="Commit, versions, data lists"]').click()
    assert 'space hash' in browser.find_element(By.TAG_NAME, 'main').text.lower()


@pytest.mark.parametrize('family', ['tsnet', 'vit', 'p3d'])
def test_every_family_has_its_drawings(show, pages, family):
    """Rejects: a page that can open AutoX3D's networks alone, drawings that lose what the figure has."""
    browser = show(family)
    arch, _, _ = candidate(pages, family, 1)
    browser.execute_script('arguments[0].focus()', point(browser, 'candidate 1'))
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    box = opened_detail(browser)
    from mmnas_video.visualization.recorded import read_search

    figure, words = diagram(arch, read_search(pages[family].parent.parent).drawn_with)
    named = {artist.get_gid() for artist in figure.findobj(lambda artist: ':' in (artist.get_gid() or ''))}
    drawn = {e.get_attribute('id').removeprefix('open-') for e in box.find_elements(By.CSS_SELECTOR, '[id^="open-"]')}
    assert len(named) > 4 and named <= drawn and box.find_element(By.CSS_SELECTOR, '.words').text == words


def test_two_searches_side_by_side(show, pages):
    """Rejects: points of one search that open the other's network."""
    browser = show('two')
    arch = arch_from_json((pages['one'].parents[2] / 'seed11' / 'search' / 'arch.json').read_text())['arch']
    browser.execute_script('arguments[0].focus()', point(browser, 'searched of seed11'))
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    shown = opened_detail(browser).find_element(By.TAG_NAME, 'pre').get_attribute('textContent')
    assert arch_from_json(shown)['arch'] == arch
    heading = browser.find_element(By.XPATH, '//h2[.="How far the choices agree"]')
    assert len(heading.find_elements(By.XPATH, '..//tbody/tr')) == 12


def test_without_a_browser_tests_skip_and_fail_in_ci(monkeypatch):
    """Rejects: a CI that is green because nothing was looked at."""
    monkeypatch.setattr('shutil.which', lambda name: None)
    monkeypatch.delenv('CI', raising=False)
    with pytest.raises(pytest.skip.Exception, match='chromium-driver'):
        chromium.start()
    monkeypatch.setenv('CI', 'true')
    with pytest.raises(pytest.fail.Exception, match='chromium-driver'):
        chromium.start()
