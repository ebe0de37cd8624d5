package org.eellm.chat;

import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.tag.ForTag;
import com.hubspot.jinjava.tree.TagNode;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;

/** The tag {@code for}, whose turns are counted: loops within loops have an end. */
final class BoundedFor extends ForTag {
  /** The name under which the context of a text has its count, an {@link AtomicLong}. */
  static final String COUNT = "turns of loops";

  private static final long MAX_TURNS = 1_000_000;

  /** An error, for Jinjava goes on after exceptions. */
  static final class TooManyError extends Error {
    private static final long serialVersionUID = 1L;
  }

  @Override
  public String renderForCollection(
      TagNode tag, JinjavaInterpreter interpreter, List<String> names, Object values) {
    int turns =
        switch (values) {
          case Collection<?> collection -> collection.size();
          case Map<?, ?> map -> map.size();
          case null, default -> 1;
        };
    if (interpreter.getContext().get(COUNT) instanceof AtomicLong count
        && count.addAndGet(Math.max(turns, 1)) > MAX_TURNS) {
      throw new TooManyError();
    }
    return super.renderForCollection(tag, interpreter, names, values);
  }
}
