package org.eellm.chat.tool;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.eellm.grammar.GrammarSource;

/**
 * How calls stand in an answer: {@code opening name middle arguments}, further calls behind {@code
 * separator}, and {@code closing}.
 *
 * @param opening up to the name of the first
 * @param middle between a name and its arguments
 * @param separator from the arguments of one to the name of the next; empty if an answer has one
 *     call at most
 * @param closing behind the last arguments
 * @param asSent whether the template takes calls as OpenAI's clients send them, arguments as a text
 *     and no content beside them; others take an object, and an empty content
 */
public record ToolForm(
    String opening, String middle, String separator, String closing, boolean asSent) {
  /**
   * What tells a call from a text wherever it stands: {@code <tool_call>}, {@code [TOOL_CALLS]}.
   */
  private static final Pattern TAG = Pattern.compile("\\[\\w+]|<[^\\s<>]+>|[^\\s{]*\\p{L}[^\\s{]*");

  /** A form of our own, for templates that do not know tools. */
  public static final ToolForm OWN =
      new ToolForm(
          "<tool_call>\n{\"name\": \"",
          "\", \"arguments\": ",
          "}\n</tool_call>\n<tool_call>\n{\"name\": \"",
          "}\n</tool_call>",
          false);

  /** The beginning of the opening behind which a text is a call. */
  String mark() {
    Matcher tag = TAG.matcher(opening);
    return tag.lookingAt() ? tag.group() : opening;
  }

  /** Whether a call may follow a text; or it is all of an answer. */
  boolean mayFollowText() {
    return TAG.matcher(opening).lookingAt();
  }

  /** All that the form itself writes. */
  public String text() {
    return opening + middle + separator + closing;
  }

  /** The texts that are calls. */
  GrammarSource calls(ToolChoice choice) {
    return new GrammarSource.Sequence(List.of(GrammarSource.text(opening), fromName(choice)));
  }

  /** The answers that are a text, or calls, or a text and calls behind it. */
  GrammarSource textOrCalls(ToolChoice choice) {
    GrammarSource rest =
        new GrammarSource.Sequence(
            List.of(GrammarSource.text(opening.substring(mark().length())), fromName(choice)));
    return new GrammarSource.AnyText(mark(), mayFollowText(), rest);
  }

  private GrammarSource fromName(ToolChoice choice) {
    List<GrammarSource> named = new ArrayList<>();
    for (Tool tool : choice.tools()) {
      named.add(
          new GrammarSource.Sequence(
              List.of(
                  GrammarSource.text(tool.name() + middle),
                  new GrammarSource.Schema(tool.parameters().toString()))));
    }
    GrammarSource call = new GrammarSource.AnyOf(named);
    List<GrammarSource> parts = new ArrayList<>(List.of(call));
    if (choice.parallel() && !separator.isEmpty()) {
      parts.add(
          new GrammarSource.Repeated(
              new GrammarSource.Sequence(List.of(GrammarSource.text(separator), call))));
    }
    parts.add(GrammarSource.text(closing));
    return new GrammarSource.Sequence(parts);
  }
}
