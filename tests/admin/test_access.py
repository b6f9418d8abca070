"""What people with a keyboard, a screen reader or a small screen meet. Every page is looked at in test_every_page."""

from playwright.sync_api import Browser, Page, expect

from tests.house import House, Visitor, until, visit

FAULTS = """() => {
  const faults = [];
  const say = (what, e) => faults.push(`${what}: ${e.outerHTML.slice(0, 160)}`);
  const shown = (e) => e.checkVisibility({ checkVisibilityCSS: true });
  const named = (e) => (e.ariaLabel || e.title || e.innerText || [...(e.labels || [])].map((l) => l.innerText).join('') || '').trim();
  for (const e of document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a[href], summary')) if (shown(e) && !named(e)) say('no name', e);
  for (const e of document.querySelectorAll('img')) if (!e.hasAttribute('alt')) say('no alt', e);
  for (const e of document.querySelectorAll('progress')) if (!e.ariaLabel) say('no label', e);
  for (const e of document.querySelectorAll('button, a.button, .tab, .icon-button, .menu-item, input:not([type=hidden], [type=radio], [type=checkbox], [type=file]), select')) {
    const box = e.getBoundingClientRect();
    if (shown(e) && !e.closest('media-controller') && box.height < 43.5) say(`only ${box.height} px high`, e);
  }
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) faults.push(`id twice: ${id}`);
  if (document.querySelectorAll('h1').length !== 1) faults.push(`${document.querySelectorAll('h1').length} h1`);
  if (document.querySelectorAll('main').length !== 1) faults.push('not one main');
  if (!document.documentElement.lang) faults.push('no language');
  for (const e of document.querySelectorAll('[aria-labelledby], [aria-describedby]')) {
    for (const name of ['aria-labelledby', 'aria-describedby']) {
      for (const id of (e.getAttribute(name) ?? '').split(' ').filter(Boolean)) if (!document.getElementById(id)) say(`points to nothing: ${id}`, e);
    }
  }
  const over = document.documentElement.scrollWidth - innerWidth;
  if (over > 0) faults.push(`${over} px too wide`);
  return faults;
}"""


def faults_of(page: Page) -> list[str]:
    page.wait_for_load_state("networkidle")
    found: list[str] = page.evaluate(FAULTS)
    return found


def test_on_a_telephone_the_menu_opens_with_the_keyboard_and_shows_every_tab(house: House, browser: Browser) -> None:
    with visit(house, browser, viewport={"width": 390, "height": 844}) as visitor:
        page = visitor.sign_in()
        page.wait_for_url("**/admin")
        menu, tabs = page.get_by_role("button", name="Menu"), page.get_by_role("navigation", name="Main")
        expect(menu).to_have_attribute("aria-expanded", "false")
        expect(tabs).to_be_hidden()
        menu.press("Enter")
        expect(menu).to_have_attribute("aria-expanded", "true")
        for tab in tabs.get_by_role("link").all():
            expect(tab).to_be_in_viewport(ratio=1)
        page.keyboard.press("Tab")
        expect(tabs.get_by_role("link").first).to_be_focused()
        page.keyboard.press("Escape")
        expect(tabs).to_be_hidden()
        expect(menu).to_be_focused()
        visitor.check()


def test_the_main_things_can_be_done_with_the_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.go("/admin/sign-in")
    expect(page.get_by_label("Email")).to_be_focused()
    page.keyboard.type("ada@example.org")
    page.keyboard.press("Tab")
    page.keyboard.type("correct horse battery")
    page.keyboard.press("Enter")
    page.wait_for_url(visitor.url + "/admin")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    press_until(page, "Upload")
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/upload")
    until(page, "document.querySelector('#files') !== null")
    press_until(page, "Choose files")
    page.go_back()
    press_until(page, "Account")
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Sign out")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menuitem", name="Sign out")).to_be_hidden()


def press_until(page: Page, name: str) -> None:
    """Tab until the focused thing has this name, and see that its focus shows."""
    focused = "(() => { const e = document.activeElement; return (e.ariaLabel || [...(e.labels || [])].map((l) => l.innerText).join('') || e.innerText || '').trim(); })()"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == name:
            seen = "getComputedStyle(document.activeElement).outlineStyle !== 'none' || document.activeElement.nextElementSibling?.matches('.button')"
            assert page.evaluate(seen)
            return
    raise AssertionError(f"{name} is not reached by Tab")


def test_the_theme_button_turns_through_system_light_and_dark_and_is_remembered(visitor: Visitor) -> None:
    page = visitor.go("/")
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    button = page.get_by_role("button", name="Theme")
    light = page.evaluate(paper)
    button.click()
    expect(button).to_have_accessible_name("Theme: light")
    button.click()
    expect(button).to_have_accessible_name("Theme: dark")
    assert page.evaluate(paper) != light
    page.reload()
    expect(button).to_have_accessible_name("Theme: dark")
    assert page.evaluate(paper) != light


def test_nothing_moves_for_people_who_asked_for_less_motion(house: House, browser: Browser) -> None:
    with visit(house, browser, reduced_motion="reduce") as visitor:
        page = visitor.go("/")
        assert (
            float(page.locator(".button").first.evaluate("(e) => parseFloat(getComputedStyle(e).transitionDuration)"))
            < 0.001
        )
        visitor.check()
