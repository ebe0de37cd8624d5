package org.eellm.grammar;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.time.LocalDate;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

final class ClassSchemaTest {
  private enum Size {
    SMALL,
    @JsonProperty("large")
    LARGE
  }

  private record Part(@JsonProperty("part_name") String name, List<Part> parts) {}

  private record Order(
      int count,
      double price,
      Optional<Boolean> paid,
      Size size,
      LocalDate day,
      Map<String, Short> stock,
      List<Part> parts) {}

  private record WithThread(List<Thread> threads) {}

  @Test
  void schema_ofARecord_hasItsComponentsAsJacksonNamesThem() throws IOException {
    String part = "org.eellm.grammar.ClassSchemaTest$Part";
    String expected =
        """
        {"$ref": "#/$defs/org.eellm.grammar.ClassSchemaTest$Order",
         "$defs": {
           "%s": {
             "type": "object",
             "properties": {
               "part_name": {"type": "string"},
               "parts": {"type": "array", "items": {"$ref": "#/$defs/%s"}}},
             "required": ["part_name", "parts"],
             "additionalProperties": false},
           "org.eellm.grammar.ClassSchemaTest$Order": {
             "type": "object",
             "properties": {
               "count": {"type": "integer", "minimum": -2147483648, "maximum": 2147483647},
               "price": {"type": "number"},
               "paid": {"type": "boolean"},
               "size": {"enum": ["SMALL", "large"]},
               "day": {"type": "string", "format": "date"},
               "stock": {
                 "type": "object",
                 "additionalProperties": {"type": "integer", "minimum": -32768, "maximum": 32767}},
               "parts": {"type": "array", "items": {"$ref": "#/$defs/%s"}}},
             "required": ["count", "price", "size", "day", "stock", "parts"],
             "additionalProperties": false}}}
        """
            .formatted(part, part, part);
    ObjectMapper json = new ObjectMapper();
    GrammarSource.Schema schema = GrammarSource.Schema.of(Order.class);

    assertThat(json.readTree(schema.json())).isEqualTo(json.readTree(expected));
    assertThat(Grammar.of(schema)).isNotNull();
  }

  @Test
  void schema_ofWhatHasNone_isRefusedByItsPath() {
    assertThatThrownBy(() -> GrammarSource.Schema.of(WithThread.class))
        .isInstanceOf(GrammarException.class)
        .hasMessage(
            "WithThread.threads[]: java.lang.Thread has no schema; use records, lists, maps,"
                + " enums, texts and numbers");
  }
}
