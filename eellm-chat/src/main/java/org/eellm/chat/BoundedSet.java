package org.eellm.chat;

import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.tag.SetTag;
import com.hubspot.jinjava.tree.parse.TagToken;
import java.util.List;

/** The tag {@code set}, whose values may have so many elements: lists of lists grow fast. */
final class BoundedSet extends SetTag {
  @Override
  public void executeSet(
      TagToken token,
      JinjavaInterpreter interpreter,
      String[] variables,
      List<?> values,
      boolean deferred) {
    TemplateBounds.requireElements(values);
    super.executeSet(token, interpreter, variables, values, deferred);
  }
}
