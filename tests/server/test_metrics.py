from __future__ import annotations

from server.metrics import Histogram, exposition


def test_counts_levels_and_histograms_read_as_prometheus_wants_them() -> None:
    stage = Histogram()
    for seconds in (0.0004, 0.004, 0.004, 9.0):
        stage.observe(seconds)
    text = exposition({"rendered": 3}, {"live_sessions": 1}, {"see": stage}, "understudy")
    lines = text.splitlines()
    assert "# TYPE understudy_rendered_total counter" in lines
    assert "understudy_rendered_total 3" in lines
    assert "understudy_live_sessions 1" in lines
    assert 'understudy_stage_seconds_bucket{stage="see",le="0.001"} 1' in lines
    assert 'understudy_stage_seconds_bucket{stage="see",le="0.005"} 3' in lines
    assert 'understudy_stage_seconds_bucket{stage="see",le="1.0"} 3' in lines
    assert 'understudy_stage_seconds_bucket{stage="see",le="+Inf"} 4' in lines
    assert 'understudy_stage_seconds_count{stage="see"} 4' in lines
    assert 'understudy_stage_seconds_sum{stage="see"} 9.008400' in lines
    assert text.endswith("\n")
