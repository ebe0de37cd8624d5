package org.eellm.serve;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.eellm.config.SettingException;
import org.eellm.decode.sample.TokenConstraint;
import org.eellm.grammar.GrammarException;
import org.eellm.grammar.GrammarSource;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;

/**
 * Reads what a text is held to: OpenAI's {@code response_format}, and vLLM's {@code
 * structured_outputs} and {@code guided_...}.
 */
final class GrammarFields {
  /**
   * A grammar.
   *
   * @param param the field that gives it
   */
  private record Given(String param, GrammarSource source) {}

  private GrammarFields() {}

  /**
   * The grammar of a request, if it has one.
   *
   * @param tools that the text may call
   * @param endTokens ids that end the text
   */
  static Optional<TokenConstraint> read(
      Fields fields, ServedModel model, ToolFields tools, Set<Integer> endTokens) {
    List<Given> all = new ArrayList<>();
    fields.fields("response_format").ifPresent(format -> addFormat(format, all));
    fields.fields("structured_outputs").ifPresent(inner -> addAll(inner, "", all));
    addAll(fields, "guided_", all);
    if (all.size() > 1) {
      throw ApiException.badField(
          all.get(1).param(), "has no place beside %s; give one".formatted(all.getFirst().param()));
    }
    if (tools.choice().tools().isEmpty()) {
      return all.stream().findFirst().map(given -> constraint(given, model, endTokens));
    }
    all.forEach(given -> constraint(given, model, endTokens)); // refused by its own name
    List<GrammarSource> text = all.stream().map(Given::source).toList();
    GrammarSource answer = model.template().answers(tools.choice(), text);
    try {
      return Optional.of(model.grammars().constraint(answer, endTokens));
    } catch (GrammarException e) {
      throw tools.refusal(e);
    } catch (SettingException e) {
      throw ApiException.badField("tools", e.problem());
    }
  }

  private static TokenConstraint constraint(
      Given given, ServedModel model, Set<Integer> endTokens) {
    try {
      return model.grammars().constraint(given.source(), endTokens);
    } catch (GrammarException e) {
      throw ApiException.badField(given.param(), String.valueOf(e.getMessage()));
    } catch (SettingException e) {
      throw ApiException.badField(given.param(), e.problem());
    }
  }

  private static void addFormat(Fields format, List<Given> all) {
    String type = format.text("type").orElse("");
    switch (type) {
      case "text" -> {}
      case "json_object" -> all.add(new Given("response_format", new GrammarSource.JsonObjects()));
      case "json_schema" -> {
        Fields schema =
            format
                .fields("json_schema")
                .orElseThrow(
                    () ->
                        ApiException.badField(
                            "response_format.json_schema", "is missing; give name and schema"));
        schema.text("name");
        schema.text("description");
        schema.bool("strict"); // or not: texts are valid either way
        JsonNode json =
            schema
                .get("schema")
                .orElseThrow(
                    () ->
                        ApiException.badField(
                            "response_format.json_schema.schema", "is missing; give a schema"));
        schema.requireNoOthers();
        all.add(
            new Given(
                "response_format.json_schema.schema", new GrammarSource.Schema(json.toString())));
      }
      default ->
          throw ApiException.badField(
              "response_format.type",
              "'%s' is not offered; use text, json_object or json_schema"
                  .formatted(Fields.shown(type)));
    }
    format.requireNoOthers();
  }

  /**
   * @param prefix of the names of fields
   */
  private static void addAll(Fields fields, String prefix, List<Given> all) {
    fields
        .get(prefix + "json")
        .ifPresent(
            json -> {
              String schema = json.isTextual() ? json.textValue() : json.toString();
              all.add(given(fields, prefix + "json", new GrammarSource.Schema(schema)));
            });
    fields
        .text(prefix + "regex")
        .ifPresent(
            pattern ->
                all.add(given(fields, prefix + "regex", new GrammarSource.Expression(pattern))));
    fields
        .texts(prefix + "choice")
        .ifPresent(
            texts -> all.add(given(fields, prefix + "choice", new GrammarSource.Choice(texts))));
    fields
        .text(prefix + "grammar")
        .ifPresent(
            rules -> all.add(given(fields, prefix + "grammar", new GrammarSource.Rules(rules))));
    if (prefix.isEmpty()) {
      if (fields.bool("json_object").orElse(false)) {
        all.add(given(fields, "json_object", new GrammarSource.JsonObjects()));
      }
      fields.requireNoOthers();
    }
  }

  private static Given given(Fields fields, String field, GrammarSource source) {
    return new Given(fields.name(field), source);
  }
}
