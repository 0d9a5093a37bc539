{# Runs the smoke query again and again for so many seconds, and prints each row that differs from the last one. #}
{% macro ask(seconds) %}
  {% set clock = modules.datetime.datetime %}
  {% set end = clock.now() + modules.datetime.timedelta(seconds=seconds) %}
  {% set last = namespace(row="") %}
  {% for _ in range(10000) if clock.now() < end %}
    {% set row = run_query("SELECT current_user(), current_catalog(), current_schema()").rows[0].values() | join(" ") %}
    {% if row != last.row %}
      {% set last.row = row %}
      {% do print(row) %}
    {% endif %}
  {% endfor %}
{% endmacro %}
