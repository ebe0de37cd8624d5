package org.eellm.cli;

import static java.util.stream.Collectors.joining;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.cfg.JsonNodeFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * The figures of a page of docs/reports: NAME.json beside NAME.md has each table's columns and
 * rows, and the command, processor, commit and statistic that they come from. A cell is a text, a
 * number, null where there is none, or a median with the least and the most of its rounds. The page
 * has the table between {@code <!-- table KEY -->} and {@code <!-- end -->}.
 */
record ReportTables(JsonNode tables) {
  private static final Pattern PLACE =
      Pattern.compile("(?s)<!-- table (\\S+) -->\\n.*?<!-- end -->");
  // A figure keeps the zeros at its end: 1.80 was measured to two places.
  private static final JsonMapper JSON =
      JsonMapper.builder()
          .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
          .disable(JsonNodeFeature.STRIP_TRAILING_BIGDECIMAL_ZEROES)
          .build();

  static ReportTables of(Path page) throws IOException {
    String name = page.getFileName().toString().replaceFirst("\\.md$", ".json");
    return new ReportTables(JSON.readTree(page.resolveSibling(name).toFile()).required("tables"));
  }

  /** The page with each table as it is here. */
  String write(String page) {
    return PLACE.matcher(page).replaceAll(place -> Matcher.quoteReplacement(table(place.group(1))));
  }

  /** The keys of the tables that a page shows. */
  static Set<String> shown(String page) {
    Set<String> keys = new TreeSet<>();
    PLACE.matcher(page).results().forEach(place -> keys.add(place.group(1)));
    return keys;
  }

  /** The keys of all tables. */
  Set<String> keys() {
    Set<String> keys = new TreeSet<>();
    tables.fieldNames().forEachRemaining(keys::add);
    return keys;
  }

  /** The commands that the tables come from. */
  Stream<String> commands() {
    return children(tables).map(table -> table.required("command").textValue());
  }

  private String table(String key) {
    JsonNode table = tables.required(key);
    StringBuilder text = new StringBuilder("<!-- table " + key + " -->\n");
    text.append(row(table.required("columns"), ReportTables::cell));
    text.append(row(table.required("columns"), _ -> "---").replace(" ", ""));
    children(table.required("rows")).forEach(row -> text.append(row(row, ReportTables::cell)));
    return text.append(
            "\n*%s; %s; %s; `%s`*\n<!-- end -->"
                .formatted(
                    table.required("statistic").textValue(),
                    table.required("processor").textValue(),
                    table.required("commit").textValue(),
                    table.required("command").textValue()))
        .toString();
  }

  private static String row(JsonNode cells, Function<JsonNode, String> text) {
    return children(cells)
        .map(text)
        .map(cell -> cell.isEmpty() ? " |" : " " + cell + " |")
        .collect(joining("", "|", "\n"));
  }

  private static String cell(JsonNode cell) {
    if (cell.isNull()) {
      return "";
    }
    if (cell.isObject()) {
      return "%s (%s–%s)"
          .formatted(
              number(cell.required("median")),
              number(cell.required("least")),
              number(cell.required("most")));
    }
    return cell.isNumber() ? number(cell) : cell.textValue();
  }

  private static String number(JsonNode number) {
    int places = Math.max(0, number.decimalValue().scale());
    return String.format(Locale.ROOT, "%,." + places + "f", number.decimalValue());
  }

  private static Stream<JsonNode> children(JsonNode parent) {
    return StreamSupport.stream(parent.spliterator(), false);
  }
}
