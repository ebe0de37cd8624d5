package org.eellm.eval.task;

import com.hubspot.jinjava.Jinjava;
import com.hubspot.jinjava.JinjavaConfig;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Objects;

/** Pages of HTML, whose templates are resources of this package. */
final class HtmlTemplate {
  private static final Jinjava JINJA =
      new Jinjava(JinjavaConfig.newBuilder().withNestedInterpretationEnabled(false).build());

  private HtmlTemplate() {}

  static String render(String name, Map<String, Object> values) {
    try (InputStream stream = HtmlTemplate.class.getResourceAsStream(name)) {
      byte[] bytes = Objects.requireNonNull(stream, name).readAllBytes();
      return JINJA.render(new String(bytes, StandardCharsets.UTF_8), values);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
