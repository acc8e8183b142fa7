from capwright.report.run_page import write_report as write_report
from capwright.report.score_page import write_score_report as write_score_report
