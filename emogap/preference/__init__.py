"""What people prefer: a questionnaire, and what raters chose."""
