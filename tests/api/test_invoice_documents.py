"""Invoices as a page and as a PDF."""

import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from pypdf import PdfReader

from billing.documents import pdf
from billing.documents.statement import statement
from billing.models import Invoice, InvoiceLine
from billing.templatetags.shown import money
from entities.models import Customer
from tests.client import Api
from tests.selling import CUSTOMER, Shop, prepaid, seats


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    """Acme with a card since 1 April 2026, and the workspaces a and b."""
    shop = Shop(stage)
    shop.opens("2026-04-01", "a", "b")
    shop.plan("pro", 20)
    shop.plan("max", 100)
    return shop


def newest() -> Invoice:
    """The customer's newest invoice."""
    invoice = Invoice.objects.shown().first()
    assert invoice is not None
    return invoice


def page(invoice: Invoice) -> str:
    return Client().get(f"/invoices/{invoice.public_id}").content.decode()


def text(data: bytes) -> str:
    """What a PDF says, line ends and runs of blanks as one blank."""
    return " ".join(" ".join(sheet.extract_text() for sheet in PdfReader(io.BytesIO(data)).pages).split())


def pdf_text(invoice: Invoice) -> str:
    return text(Client().get(f"/invoices/{invoice.public_id}.pdf").content)


def everywhere(invoice: Invoice, *parts: str) -> None:
    """The page and the PDF both say this."""
    on_page, in_pdf = " ".join(page(invoice).split()), pdf_text(invoice)
    for part in parts:
        assert part in on_page
        assert part in in_pdf


def test_both_say_who_bills_whom_for_what(shop: Shop, settings: Any) -> None:
    settings.ORGANIZATION_NAME = "Example Ltd"
    settings.ORGANIZATION_DETAILS = "1 Main Street\nLondon\nVAT GB 123"
    Customer.objects.update(name="Acme", email="bills@acme.test")
    shop.attach("pro")
    everywhere(
        newest(),
        "Invoice 00000001",
        *("Example Ltd", "1 Main Street", "London", "VAT GB 123"),
        *("Acme", "bills@acme.test", "Customer acme"),
        *("1 April 2026", "1 Apr 2026 – 1 May 2026", "Pro - Base Price", "20.00 USD", "Total", "Paid"),
    )


def test_the_period_stands_beside_the_line_and_not_in_it(shop: Shop) -> None:
    shop.attach("pro", to="a")
    [section] = statement(newest()).sections
    assert [(row.text, row.period) for row in section.rows] == [("Pro - Base Price", "1 Apr 2026 – 1 May 2026")]


def test_a_change_shows_the_credit_and_the_charge(shop: Shop) -> None:
    shop.attach("pro")
    shop.on("2026-04-16")
    shop.attach("max")
    everywhere(newest(), "Unused Pro - Base Price", "−10.00 USD", "Charges", "50.00 USD", "Credits", "40.00 USD")


def test_a_credit_is_kept_for_later_invoices(shop: Shop) -> None:
    shop.attach("pro")
    shop.on("2026-04-16")
    shop.update("pro", cancel_action="cancel_immediately")
    everywhere(newest(), "Credited", "−10.00 USD", "The amount is kept as credit")


def test_a_refund_is_shown_with_what_remains(shop: Shop) -> None:
    shop.attach("pro")
    shop.on("2026-04-16")
    first = newest()
    shop.update("pro", cancel_action="cancel_immediately", refund_last_payment="prorated")
    everywhere(first, "Partly refunded", "−10.00 USD", "Total after refund")


def test_quantities_and_overage_have_their_figures(shop: Shop) -> None:
    shop.plan("packs", 10, prepaid("messages", 100, 5, 100))
    shop.attach("packs", feature_quantities=[{"feature_id": "messages", "quantity": 1300}])
    everywhere(newest(), "1,300", "60.00 USD", "70.00 USD")


def test_lines_of_entities_stand_under_their_names(shop: Shop) -> None:
    shop.attach("pro")
    invoice = newest()
    for position, entity in enumerate(invoice.customer.entities.order_by("pk"), start=1):
        InvoiceLine.objects.create(
            invoice=invoice, position=position, kind="base", display_name="Pro", description=f"Pro ({entity})",
            amount=Decimal(-5 * position), entity=entity,
        )  # fmt: skip
    sections = statement(invoice).sections
    assert [(section.holder, section.subtotal) for section in sections] == [
        ("Account", "20.00 USD"),
        ("a", "−5.00 USD"),
        ("b", "−10.00 USD"),
    ]
    assert sections[1].rows[0].text == "Pro"


def test_discounts_are_summed_apart_from_credits(shop: Shop) -> None:
    shop.attach("pro")
    invoice = newest()
    InvoiceLine.objects.create(
        invoice=invoice, position=1, kind="discount", display_name="Spring", description="Spring", amount=Decimal(-4)
    )
    assert statement(invoice).totals[:2] == [("Charges", "20.00 USD"), ("Discounts", "−4.00 USD")]


@pytest.mark.parametrize(
    ("currency", "shown"), [("jpy", "20 JPY"), ("kwd", "20.000 KWD"), ("eur", "20.00 EUR")], ids=["0", "3", "2"]
)
def test_an_amount_has_the_decimals_of_its_currency(shop: Shop, currency: str, shown: str) -> None:
    shop.attach("pro")
    Invoice.objects.update(currency=currency)
    everywhere(newest(), shown)
    assert dict(statement(newest()).totals)["Total"] == shown


def test_an_open_invoice_leads_to_where_it_is_paid(shop: Shop) -> None:
    shop.attach("pro")
    shop.card("declines")
    shop.on("2026-05-01")
    invoice = newest()
    everywhere(invoice, "Open", "Amount due")
    assert f'href="{invoice.hosted_url}"' in page(invoice)


def test_the_hosted_pages_lead_to_both(shop: Shop) -> None:
    shop.attach("pro")
    invoice = newest()
    hosted = Client().get(f"/pay/invoice/{invoice.processor_id}").content.decode()
    assert f'href="/invoices/{invoice.public_id}"' in hosted
    portal = shop.api.post("billing.open_customer_portal", customer_id=CUSTOMER)["url"]
    listed = Client().get("/" + portal.split("/", 3)[3]).content.decode()
    assert f'href="/invoices/{invoice.public_id}.pdf"' in listed


def test_names_in_any_script_are_printed(shop: Shop) -> None:
    shop.attach("pro")
    Customer.objects.update(name="Zoë Ωμέγα Привет")
    everywhere(newest(), "Zoë Ωμέγα Привет")


def test_what_no_font_has_becomes_a_box_until_one_is_added(shop: Shop, settings: Any, tmp_path: Path) -> None:
    shop.attach("pro")
    Customer.objects.update(name="漢 Ltd")
    assert "□ Ltd" in pdf_text(newest())
    font = tmp_path / "han.ttf"
    make_font("漢", font)
    settings.INVOICE_FONTS = [str(font)]
    assert "漢 Ltd" in pdf_text(newest())


def test_markup_in_names_stays_text(shop: Shop) -> None:
    shop.attach("pro")
    Customer.objects.update(name="<b>Acme</b> & **Sons**")
    assert "&lt;b&gt;Acme&lt;/b&gt; &amp; **Sons**" in page(newest())
    assert "<b>Acme</b> & **Sons**" in pdf_text(newest())


def test_many_lines_go_on_with_the_headings_on_the_next_page(shop: Shop) -> None:
    shop.attach("pro")
    invoice = newest()
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            invoice=invoice, position=n, kind="custom", display_name="x", description=f"Line {n}", amount=Decimal(1)
        )
        for n in range(1, 91)
    )
    sheets = PdfReader(io.BytesIO(pdf.render(statement(invoice)))).pages
    assert len(sheets) > 2
    assert all("Description" in sheet.extract_text() for sheet in sheets[:-1])
    assert f"page {len(sheets)}" in sheets[-1].extract_text()


def test_an_invoice_gives_the_same_file_each_time(shop: Shop) -> None:
    shop.attach("pro")
    assert pdf.render(statement(newest())) == pdf.render(statement(newest()))


def test_the_pdf_names_its_file_and_is_not_kept_by_caches(shop: Shop) -> None:
    shop.attach("pro")
    response = Client().get(f"/invoices/{newest().public_id}.pdf")
    assert response["Content-Type"] == "application/pdf"
    assert response["Content-Disposition"] == 'inline; filename="invoice-00000001.pdf"'
    assert "private" in response["Cache-Control"]


def test_only_the_sandbox_says_that_no_money_moved(shop: Shop, settings: Any) -> None:
    shop.attach("pro")
    assert "no real money" in page(newest())
    assert "no real money" in pdf_text(newest())
    settings.ENVIRONMENT = "live"
    assert "no real money" not in page(newest())
    assert "no real money" not in pdf_text(newest())


def test_an_address_that_is_no_invoice_is_not_found(shop: Shop) -> None:
    shop.attach("pro")
    invoice = newest()
    wrong = [str(invoice.pk), invoice.number, invoice.processor_id, invoice.public_id[:-1], f"{invoice.public_id}x"]
    for address in wrong:
        assert Client().get(f"/invoices/{address}").status_code == 404
        assert Client().get(f"/invoices/{address}.pdf").status_code == 404


def test_what_only_balances_lines_is_not_shown(shop: Shop) -> None:
    shop.attach("pro")
    Invoice.objects.update(is_internal=True)
    assert Client().get(f"/invoices/{Invoice.objects.get().public_id}").status_code == 404


def test_a_page_takes_the_same_few_queries_for_many_lines(shop: Shop, django_assert_num_queries: Any) -> None:
    shop.plan("team", 10, seats(0, 5))
    shop.attach("team", to="a")
    shop.attach("pro", to="b")
    shop.on("2026-05-01")
    address = f"/invoices/{newest().public_id}"
    with django_assert_num_queries(2):
        Client().get(address)


def make_font(mark: str, path: Path) -> None:
    """A font with one glyph."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in [(0, 500), (500, 500), (500, 0)]:
        pen.lineTo(point)
    pen.closePath()
    glyph = pen.glyph()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "mark"])
    font.setupCharacterMap({ord(mark): "mark"})
    font.setupGlyf({".notdef": glyph, "mark": glyph})
    font.setupHorizontalMetrics({".notdef": (600, 0), "mark": (600, 0)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Han", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    font.setupPost()
    font.save(path)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("30", "usd", "$30.00"),
        ("-4.52", "EUR", "−€4.52"),
        ("500", "jpy", "¥500"),
        ("12.5", "kwd", "KWD 12.500"),
        ("-0.001", "usd", "$0.00"),
        ("1234.5", "usd", "$1,234.50"),
    ],
)
def test_staff_read_amounts_with_the_decimals_of_their_currency(amount: str, currency: str, text: str) -> None:
    assert money(Decimal(amount), currency) == text


@pytest.mark.django_db
def test_staff_get_to_the_page_and_the_pdf(shop: Shop, admin_client: Client) -> None:
    shop.attach("pro")
    shown = admin_client.get(f"/admin/billing/invoice/{newest().pk}/change/").content.decode()
    assert f'href="/invoices/{newest().public_id}"' in shown
    assert f'href="/invoices/{newest().public_id}.pdf"' in shown
