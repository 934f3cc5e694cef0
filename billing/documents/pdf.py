"""A statement as a PDF that any script can be printed on, as far as there are fonts for it."""

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.conf import settings
from fpdf import FPDF
from fpdf.enums import TableBordersLayout, XPos, YPos
from fpdf.fonts import FontFace, TTFFont

from billing.documents.statement import Statement

_FONTS = Path(__file__).parent / "fonts"
_FAMILY = "dejavu"
_NO_GLYPH = "\N{WHITE SQUARE}"
_SOFT = (90, 100, 116)
_LINE = (217, 221, 228)
_BOLD = FontFace(emphasis="BOLD")
_HEADING = FontFace(emphasis="BOLD", color=_SOFT)


def render(shown: Statement) -> bytes:
    """The PDF of a statement, A4; the same bytes for the same statement."""
    sheet = _Sheet(shown)
    sheet.add_page()
    _head(sheet, shown)
    _lines(sheet, shown)
    _totals(sheet, shown)
    if shown.note:
        sheet.ln(6)
        sheet.multi_cell(0, 5, sheet.clean(shown.note), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    return bytes(sheet.output())


class _Sheet(FPDF):
    """Pages with the title and the page's number at their foot."""

    def __init__(self, shown: Statement) -> None:
        super().__init__(format="A4")
        self.foot = f"{shown.title} · sandbox, no real money moved" if shown.is_sandbox else shown.title
        self.add_font(_FAMILY, "", _FONTS / "DejaVuSans.ttf")
        self.add_font(_FAMILY, "B", _FONTS / "DejaVuSans-Bold.ttf")
        extra = [f"extra{position}" for position, _ in enumerate(settings.INVOICE_FONTS)]
        for family, path in zip(extra, settings.INVOICE_FONTS, strict=True):
            self.add_font(family, "", path)
        if extra:
            self.set_fallback_fonts(extra, exact_match=False)
        self.known = {code for font in self.fonts.values() if isinstance(font, TTFFont) for code in font.cmap}
        self.set_text_shaping(use_shaping_engine=any(_needs_shaping(text) for text in _texts(shown)))
        self.set_title(shown.title)
        self.set_author(shown.seller[0])
        self.set_lang("en")
        self.set_creation_date(shown.issued_at)
        self.set_margins(18, 18)
        self.set_auto_page_break(auto=True, margin=22)
        self.write_plain()

    def write_plain(self, size: float = 9.5, style: str = "") -> None:
        self.set_font(_FAMILY, style, size)
        self.set_text_color(29, 36, 48)

    def write_soft(self, size: float = 8.5) -> None:
        self.set_font(_FAMILY, "", size)
        self.set_text_color(*_SOFT)

    def clean(self, text: str) -> str:
        """`text` with a box for what no font has: a name with a hole in it would look whole."""
        return "".join(mark if self._has(mark) else _NO_GLYPH for mark in text)

    def footer(self) -> None:
        self.set_y(-15)
        self.write_soft(7.5)
        self.cell(0, 5, f"{self.foot} · all dates in UTC · page {self.page_no()}", align="C")

    def _has(self, mark: str) -> bool:
        return ord(mark) in self.known or unicodedata.category(mark) in ("Cf", "Mn", "Zs")


def _texts(shown: Statement) -> Iterator[str]:
    yield from (*shown.seller, *shown.buyer)
    for section in shown.sections:
        yield section.holder
        yield from (row.text for row in section.rows)


def _needs_shaping(text: str) -> bool:
    """Whether letters join, stack or run from right to left: Hebrew to the scripts of South Asia.

    Shaping takes three times as long, so the rest goes without.
    """
    return any("\u0590" <= mark <= "\u1dff" or "\ufb1d" <= mark <= "\ufefc" for mark in text)


def _head(sheet: _Sheet, shown: Statement) -> None:
    sheet.write_plain(20, "B")
    sheet.cell(0, 10, shown.title, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    sheet.write_plain(10, "B")
    sheet.cell(0, 6, shown.status_name, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    sheet.ln(5)
    top = sheet.get_y()
    ends = [_party(sheet, "From", shown.seller, sheet.l_margin, top), _party(sheet, "To", shown.buyer, 76, top)]
    sheet.set_y(top)
    for label, value in shown.facts:
        sheet.set_x(133)
        sheet.write_soft()
        sheet.cell(15, 5, label)
        sheet.write_plain(8.5)
        sheet.multi_cell(0, 5, value, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    sheet.set_y(max(*ends, sheet.get_y()) + 8)


def _party(sheet: _Sheet, label: str, lines: Sequence[str], left: float, top: float) -> float:
    """Name and address; returns where they end."""
    sheet.set_xy(left, top)
    sheet.write_soft()
    sheet.cell(54, 5, label, new_x=XPos.LEFT, new_y=YPos.NEXT)
    for position, line in enumerate(lines):
        sheet.write_plain(style="B" if position == 0 else "")
        sheet.set_x(left)
        sheet.multi_cell(54, 5, sheet.clean(line), align="L", new_x=XPos.LEFT, new_y=YPos.NEXT)
    return sheet.get_y()


def _lines(sheet: _Sheet, shown: Statement) -> None:
    sheet.write_plain(8.5)
    sheet.set_draw_color(*_LINE)
    with sheet.table(
        col_widths=(82, 43, 19, 30),
        text_align=("LEFT", "LEFT", "RIGHT", "RIGHT"),
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        headings_style=_HEADING,
        line_height=5,
        padding=(1.2, 1.5),
        v_align="TOP",
    ) as table:
        table.row(("Description", "Period (UTC)", "Quantity", "Amount"))
        for section in shown.sections:
            if section.subtotal:
                heading = table.row()
                heading.cell(sheet.clean(section.holder), colspan=3, style=_BOLD)
                heading.cell(section.subtotal, style=_BOLD)
            for row in section.rows:
                table.row((sheet.clean(row.text), row.period, row.quantity, row.amount))
        if not shown.sections:
            table.row(("Nothing is due", "", "", ""))
    sheet.ln(4)


def _totals(sheet: _Sheet, shown: Statement) -> None:
    height = 6 * len(shown.totals)
    if sheet.will_page_break(height):
        sheet.add_page()
    for label, value in shown.totals:
        sheet.write_plain(style="B" if label in ("Total", "Amount due") else "")
        sheet.set_x(100)
        sheet.cell(50, 6, label)
        sheet.cell(0, 6, value, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
