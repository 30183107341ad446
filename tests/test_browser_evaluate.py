"""The Evaluate page in a browser: a dot is clicked, a picture opened in Explore, another metric chosen."""

from browsing import choose
from playwright.sync_api import expect


def test_dots_pictures_and_metrics(visit):
    page = visit("/evaluate")
    expect(page.locator(".cv-examples img")).to_have_count(8)
    page.locator(".js-plotly-plot .points path").nth(5).click(force=True)
    expect(page.locator(".cv-one img")).to_be_visible()
    expect(page.locator(".cv-one p")).to_contain_text("Best IoU 0.")
    before = page.locator(".cv-examples").first.inner_text()
    choose(page, "trust_metric", "Coherency")
    expect(page.locator(".cv-examples").first).to_contain_text("Coherency")
    assert page.locator(".cv-examples").first.inner_text() != before
    page.wait_for_function("location.search.includes('metric=coherency')")
    with page.expect_popup() as opened:
        page.locator(".cv-examples a").first.click()
    expect(opened.value.locator(".cv-title")).to_contain_text("Where does Shapes")
    expect(opened.value.locator(".cv-result canvas")).to_be_visible()
    opened.value.close()
