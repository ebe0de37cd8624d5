package org.eellm.chat.tool;

import java.util.List;
import org.eellm.grammar.GrammarSource;

/**
 * The tools that an answer may call.
 *
 * @param tools none if it may call none
 * @param required whether the answer has to be a call
 * @param parallel whether it may be several calls
 */
public record ToolChoice(List<Tool> tools, boolean required, boolean parallel) {
  public static final ToolChoice NONE = new ToolChoice(List.of(), false, false);

  public ToolChoice {
    tools = List.copyOf(tools);
  }

  /**
   * What an answer is held to.
   *
   * @param text what one that calls no tool is held to; none for any text
   */
  public GrammarSource answers(ToolForm form, List<GrammarSource> text) {
    if (required) {
      return form.calls(this);
    }
    return text.isEmpty()
        ? form.textOrCalls(this)
        : new GrammarSource.AnyOf(List.of(form.calls(this), text.getFirst()));
  }
}
