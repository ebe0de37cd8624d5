package org.eellm.chat;

import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.exptest.ExpTest;
import java.util.Map;
import org.jspecify.annotations.NullUnmarked;

/** Jinja's {@code is iterable}, which holds of texts and dictionaries, too. */
@NullUnmarked // as the library is, which takes and gives null
final class IsIterable implements ExpTest {
  @Override
  public String getName() {
    return "iterable";
  }

  @Override
  public boolean evaluate(Object value, JinjavaInterpreter interpreter, Object... arguments) {
    return value instanceof String || value instanceof Iterable<?> || value instanceof Map<?, ?>;
  }
}
