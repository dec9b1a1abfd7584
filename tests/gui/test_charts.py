"""What the report's plots show: lengths, colours, words for a screen reader, and the summary."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtGui import QImage

from ovsam_annotator.views.charts import Bar, BarChart
from ovsam_annotator.views.data import ReportData
from ovsam_annotator.views.main_window import MainWindow
from ovsam_annotator.views.report_panel import MOST_CLASSES, ReportPanel

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def chart(qtbot):
    view = BarChart("Objects by class")
    qtbot.addWidget(view)
    return view


def painted(widget):
    widget.resize(300, widget.sizeHint().height())
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width() * 3].reshape(image.height(), image.width(), 3).copy()


def length(pixels, colour):
    """Width of a bar in pixels."""
    found = np.flatnonzero((np.abs(pixels.astype(int) - colour).max(axis=2) < 8).any(axis=0))
    return int(found.max() - found.min()) + 1 if len(found) else 0


def test_bars_are_as_long_as_their_values(chart):
    chart.set_bars([Bar("cat", 8, colour=RED), Bar("dog", 2, colour=BLUE)])
    pixels = painted(chart)
    assert length(pixels, RED) == pytest.approx(4 * length(pixels, BLUE), abs=6)
    top = {name: np.argwhere((pixels == colour).all(axis=2))[:, 0].mean() for name, colour in (("r", RED), ("b", BLUE))}
    assert top["r"] < top["b"]


def test_a_bar_of_nothing_is_still_there(chart):
    chart.set_bars([Bar("cat", 0, colour=RED)])
    assert 1 <= length(painted(chart), RED) <= 3


def test_an_empty_chart_says_so_and_is_lower(chart):
    empty = painted(chart).shape[0]
    chart.set_bars([Bar(str(k), k) for k in range(6)])
    assert chart.sizeHint().height() > 2 * empty
    assert chart.accessibleName() == "Objects by class"


def test_a_screen_reader_hears_every_bar(chart):
    chart.set_bars([Bar("cat", 3), Bar("dog", 1.5, "1.5 s")])
    assert chart.accessibleDescription() == "cat: 3; dog: 1.5 s"


def test_long_names_leave_room_for_bars(chart):
    chart.set_bars([Bar("a very long name of a class that goes on and on", 5, colour=RED)])
    assert length(painted(chart), RED) > 60


@pytest.fixture
def report(qtbot):
    view = ReportPanel()
    qtbot.addWidget(view)
    view.set_report(
        ReportData(
            classes=(("cat", 6, RED), ("dog", 2, BLUE)),
            areas=(100, 300, 300, 5000, 90_000),
            scores=(0.05, 0.3, 0.95),
            seconds=(1.0, 3.0, 3.0, 30.0),
            clicks=(1, 1, 2, 9),
            ranks=(1, 1, 1, 4, 7, 0),
            pictures=(("done", 3), ("unseen", 1)),
        )
    )
    return view


def bars(report, name):
    return {bar.label: bar.value for bar in report._charts[name]._bars}


def test_the_summary_counts_and_takes_medians(report):
    lines = report._summary.text().splitlines()
    assert lines[0] == "8 objects in 2 classes"
    assert lines[1] == "Per object (median): 3.0 s, clicks: 1.5"
    assert lines[2] == "The first name was right 50%, one of the first five 67%"


def test_every_plot_has_its_figures(report):
    assert bars(report, "classes") == {"cat": 6, "dog": 2}
    assert bars(report, "pictures") == {"done": 3, "unseen": 1}
    assert list(bars(report, "areas").values()) == [1, 2, 0, 1, 0, 1]
    assert list(bars(report, "scores").values()) == [1, 0, 1, 0, 0, 1]
    assert bars(report, "seconds") == {"< 2": 1, "2–5": 2, "5–10": 0, "10–20": 0, "20–60": 1, "≥ 60": 0}
    assert list(bars(report, "clicks").values()) == [2, 1, 0, 0, 1]
    assert bars(report, "ranks") == {"name 1": 3, "name 4": 1, "name 7": 1, "searched": 1}


def test_many_classes_end_in_one_bar(report):
    report.set_report(ReportData(tuple((f"c{k}", 2, RED) for k in range(MOST_CLASSES + 5)), (), (), (), (), ()))
    shown = bars(report, "classes")
    assert len(shown) == MOST_CLASSES + 1
    assert shown["all others"] == 10
    assert bars(report, "seconds") == {}


def test_looking_at_the_report_asks_for_fresh_figures_each_time(qtbot):
    window = MainWindow()
    qtbot.addWidget(window)
    window.show()
    window.show_work()
    for _ in range(2):
        with qtbot.waitSignal(window.report.refresh_asked):
            window._docks["report"].raise_()
        with qtbot.assertNotEmitted(window.report.refresh_asked, wait=50):
            window._docks["objects"].raise_()
