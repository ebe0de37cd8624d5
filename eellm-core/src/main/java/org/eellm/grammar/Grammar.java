package org.eellm.grammar;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;

/**
 * A language that generated texts are held to, with the automaton that reads them, which is made as
 * texts ask for it. Threads take turns with it, by its lock.
 */
public final class Grammar {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Language start;

  private Grammar(Language start) {
    this.start = start;
  }

  /**
   * Makes a grammar.
   *
   * @throws GrammarException if its source is none, has what cannot be kept, or has no text
   */
  public static Grammar of(GrammarSource source) {
    Languages all = new Languages();
    Language start = language(all, source);
    all.check();
    if (start.isNothing()) {
      throw new GrammarException("grammar", "no text belongs to it");
    }
    return new Grammar(start);
  }

  private static Language language(Languages all, GrammarSource source) {
    return switch (source) {
      case GrammarSource.Schema(String json) -> JsonSchema.of(all, parse(json));
      case GrammarSource.JsonObjects() -> JsonSchema.object(all);
      case GrammarSource.Expression(String pattern) ->
          RegularExpression.whole(all, "regex", pattern);
      case GrammarSource.Choice(List<String> texts) -> all.literals(texts);
      case GrammarSource.Rules(String text) -> RuleText.read(all, text);
      case GrammarSource.Sequence(List<GrammarSource> parts) ->
          all.sequence(parts.stream().map(part -> language(all, part)).toArray(Language[]::new));
      case GrammarSource.AnyOf(List<GrammarSource> sources) ->
          all.choice(sources.stream().map(each -> language(all, each)).toList());
      case GrammarSource.Repeated(GrammarSource part) ->
          all.repeat(language(all, part), 0, Languages.UNBOUNDED);
      case GrammarSource.AnyText(String mark, boolean anywhere, GrammarSource rest) ->
          all.anyText(mark, anywhere, language(all, rest));
      case GrammarSource.WithSpecials(GrammarSource inner, _) -> language(all, inner);
    };
  }

  private static JsonNode parse(String json) {
    try {
      return JSON.readTree(json);
    } catch (JsonProcessingException e) {
      throw new GrammarException("schema", "is no JSON: " + e.getOriginalMessage());
    }
  }

  /** All of it, from which {@link Language#after} goes on; under this object's lock. */
  public Language start() {
    return start;
  }
}
