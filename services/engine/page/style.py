"""The page's style sheet: one column on a phone, two on a desk, dark where the reader's screen is.

It stands inside the page; the content security policy names its digest and allows no other.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--back:#f4f5f7;--card:#fff;--line:#e2e5ea;--text:#1b2430;
--dim:#5d6878;--good:#0b7a4b;--good-back:#e3f5ec;--watch:#8a5a00;--watch-back:#fdf1d8;--bad:#b3261e;--bad-back:#fde8e6}
@media (prefers-color-scheme:dark){:root{--back:#10151c;--card:#19212b;--line:#2b3644;
--text:#e6ebf2;--dim:#98a5b6;--good:#5bd39b;--good-back:#12352a;--watch:#f0c05c;--watch-back:#3a2e12;--bad:#ff8f86;
--bad-back:#43201e}}
*{box-sizing:border-box;margin:0}
body{background:var(--back);color:var(--text);font:15px/1.45 system-ui,"Segoe UI",Roboto,
"DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%}
main,header>div{max-width:1180px;margin:0 auto;padding:0 16px}
header{background:var(--card);border-bottom:1px solid var(--line);padding:12px 0}
header>div{display:flex;flex-wrap:wrap;align-items:center;gap:6px 10px}
h1{font-size:18px;font-weight:650;margin-right:2px}
h2{font-size:13px;font-weight:650;letter-spacing:.04em;text-transform:uppercase;color:var(--dim);
margin:26px 0 10px}
h3{font-size:16px;font-weight:650}
header time,.dim{color:var(--dim)}
header time{margin-left:auto;font-size:13px}
.badge{display:inline-block;padding:1px 9px;border-radius:99px;font-size:12.5px;font-weight:600;
white-space:nowrap;background:var(--line);color:var(--text)}
.badge.good{background:var(--good-back);color:var(--good)}
.badge.watch{background:var(--watch-back);color:var(--watch)}
.badge.bad{background:var(--bad-back);color:var(--bad)}
.notices{display:grid;gap:8px;margin-top:16px}
.notice{background:var(--card);border:1px solid var(--line);border-left:5px solid var(--dim);
border-radius:8px;padding:10px 14px;overflow-wrap:anywhere}
.notice.good{border-left-color:var(--good)}
.notice.watch{border-left-color:var(--watch);background:var(--watch-back)}
.notice.bad{border-left-color:var(--bad);background:var(--bad-back)}
.notice b{font-weight:650}.notice time{color:var(--dim);font-size:13px;white-space:nowrap}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin-top:14px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 12px}
.tile dt{color:var(--dim);font-size:12.5px}
.tile dd{font-size:20px;font-weight:650;white-space:nowrap}
.good-text{color:var(--good)}.bad-text{color:var(--bad)}.watch-text{color:var(--watch)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,430px),1fr));gap:12px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px}
.card.watch{border-color:var(--watch)}.card.bad{border-color:var(--bad)}
.card-head{display:flex;flex-wrap:wrap;align-items:center;gap:4px 10px}
.card-head .sum{margin-left:auto;font-size:17px;font-weight:650;white-space:nowrap}
.card .id{color:var(--dim);font-size:13px;overflow-wrap:anywhere}
.card .why{margin-top:6px;font-size:13.5px;overflow-wrap:anywhere}
.card dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(84px,1fr));gap:6px 12px;
border-top:1px solid var(--line);margin-top:10px;padding-top:10px}
.card dt{color:var(--dim);font-size:12.5px}.card dd{font-weight:600;white-space:nowrap}
table{width:100%;border-collapse:collapse}
th{font-size:12.5px;font-weight:500;color:var(--dim);text-align:right;padding:4px 0 4px 10px;
white-space:nowrap}
td{text-align:right;padding:5px 0 5px 10px;border-top:1px solid var(--line);vertical-align:top;
white-space:nowrap}
td.text,td:first-child{white-space:normal}
th:first-child,td:first-child,th.text,td.text{text-align:left}
th:first-child,td:first-child{padding-left:0}
th.doubts,td.doubts{padding-left:22px}
td small{display:block;color:var(--dim);font-size:12.5px}
.legs{margin-top:10px}
.panel{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:8px 14px;
overflow-x:auto}
.empty{color:var(--dim);padding:6px 0}.panel.empty{padding:10px 14px}
.events{list-style:none;padding:0}
.events li{display:grid;grid-template-columns:104px 1fr;gap:0 10px;padding:6px 0;
border-top:1px solid var(--line)}
.events li:first-child{border-top:0}
.events time{color:var(--dim);font-size:13px;white-space:nowrap;padding-top:1px}
.events p{overflow-wrap:anywhere}
.events p::before{content:"";display:inline-block;width:8px;height:8px;border-radius:50%;
margin-right:8px;background:var(--dim)}
.events .good p::before{background:var(--good)}
.events .watch p::before{background:var(--watch)}
.events .bad p::before{background:var(--bad)}
footer{color:var(--dim);font-size:13px;padding:22px 0 30px}
@media (min-width:900px){.events li{grid-template-columns:120px 1fr}}
@media (max-width:620px){.wide{display:none}.tiles{grid-template-columns:1fr 1fr}
.tile:last-child:nth-child(odd){grid-column:1/-1}
.tile dd{font-size:18px}header time{margin-left:0;width:100%}
.events li{display:block}.events time{margin-right:8px}.events p{display:inline}
.panel,.card{padding:8px 12px}
table{font-size:14px}th,td{padding-left:7px}.tile{padding:8px 12px}}
"""

_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page: no script, no other style, nothing from anywhere else."""
