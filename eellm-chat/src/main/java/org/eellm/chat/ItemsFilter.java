package org.eellm.chat;

import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.filter.Filter;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.NullUnmarked;

/** Jinja's filter {@code items}, which Jinjava has not: the entries of a dictionary. */
@NullUnmarked // as the library is, which takes and gives null
final class ItemsFilter implements Filter {
  @Override
  public String getName() {
    return "items";
  }

  @Override
  public Object filter(Object value, JinjavaInterpreter interpreter, String... arguments) {
    return value instanceof Map<?, ?> map ? List.copyOf(map.entrySet()) : List.of();
  }
}
