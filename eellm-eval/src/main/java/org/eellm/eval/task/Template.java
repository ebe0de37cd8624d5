package org.eellm.eval.task;

import com.hubspot.jinjava.Jinjava;
import com.hubspot.jinjava.JinjavaConfig;
import com.hubspot.jinjava.interpret.Context;
import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.interpret.RenderResult;
import com.hubspot.jinjava.interpret.TemplateError;
import com.hubspot.jinjava.interpret.UnknownTokenException;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.eellm.eval.EvalException;

/**
 * A text of Jinja over a record's fields.
 *
 * @param place what messages call it
 */
record Template(String text, String place) {
  private static final Pattern EXPRESSION = Pattern.compile("\\s*\\{\\{([^{}]*)}}\\s*");

  private static final Jinjava JINJA =
      new Jinjava(
          JinjavaConfig.newBuilder()
              .withNestedInterpretationEnabled(false) // a field is no template
              .withFailOnUnknownTokens(true)
              .build());

  /**
   * The text for a record.
   *
   * @throws EvalException if it asks for what the record does not have
   */
  String render(Map<String, Object> fields) {
    if (!text.contains("{")) {
      return text;
    }
    RenderResult result = JINJA.renderForResult(text, fields);
    refuse(result.getErrors(), fields);
    return result.getOutput();
  }

  /**
   * The list that a single {@code {{expression}}} stands for.
   *
   * @throws EvalException if it is none
   */
  List<String> list(Map<String, Object> fields) {
    Matcher expression = EXPRESSION.matcher(text);
    if (!expression.matches()) {
      throw new EvalException(
          "%s: %s is no list; write {{name}} of a field that is one".formatted(place, text));
    }
    JinjavaInterpreter interpreter =
        new JinjavaInterpreter(
            JINJA, new Context(JINJA.getGlobalContext(), fields), JINJA.getGlobalConfig());
    Object value = interpreter.resolveELExpression(expression.group(1).strip(), 1);
    refuse(interpreter.getErrors(), fields);
    if (!(value instanceof Collection<?> list)) {
      throw new EvalException(
          "%s: %s is no list but %s; write the choices one by one".formatted(place, text, value));
    }
    return list.stream().map(String::valueOf).toList();
  }

  private void refuse(List<TemplateError> errors, Map<String, Object> fields) {
    if (!errors.isEmpty()) {
      throw new EvalException(
          "%s: %s; the record has the fields %s"
              .formatted(place, reason(errors.getFirst(), fields), fields.keySet()));
    }
  }

  private static String reason(TemplateError error, Map<String, Object> fields) {
    if (error.getException() instanceof UnknownTokenException unknown) {
      String name = unknown.getToken();
      return fields.containsKey(name) ? name + " is null" : "there is no " + name;
    }
    return error.getMessage().lines().findFirst().orElse("").replaceAll("\\b\\w+Exception: ", "");
  }
}
