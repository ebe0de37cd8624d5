package org.eellm.chat;

import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.tag.ForTag;
import com.hubspot.jinjava.tree.TagNode;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/** The tag {@code for}, whose iterations are counted: loops within loops have an end. */
final class BoundedFor extends ForTag {
  @Override
  public String renderForCollection(
      TagNode tag, JinjavaInterpreter interpreter, List<String> names, Object values) {
    TemplateBounds.requireElements(values);
    int iterations =
        switch (values) {
          case Collection<?> collection -> collection.size();
          case Map<?, ?> map -> map.size();
          case null, default -> 1;
        };
    TemplateBounds.countIterations(iterations);
    return super.renderForCollection(tag, interpreter, names, values);
  }
}
