package org.eellm.chat;

import com.hubspot.jinjava.el.JinjavaInterpreterResolver;
import java.beans.FeatureDescriptor;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import jinjava.javax.el.ELContext;
import jinjava.javax.el.ELResolver;
import jinjava.javax.el.MethodNotFoundException;
import org.jspecify.annotations.NullUnmarked;

/** Python's methods of texts and dictionaries, which templates use, beside Jinjava's own. */
@NullUnmarked // as the library is, which takes and gives null
final class PythonMethods extends ELResolver {
  private static final ELResolver REST = JinjavaInterpreterResolver.DEFAULT_RESOLVER_READ_ONLY;
  private static final String BLANKS = " \t\n\r\f\u000B";

  @Override
  public Object invoke(
      ELContext context, Object base, Object method, Class<?>[] types, Object[] arguments) {
    Object[] given = arguments == null ? new Object[0] : arguments;
    TemplateBounds.countRead(base);
    for (Object argument : given) { // also of a filter, which is called like a method
      TemplateBounds.countRead(argument);
    }
    Optional<Object> value =
        switch (base) {
          case String text -> ofText(text, String.valueOf(method), given);
          case Map<?, ?> map -> ofMap(map, String.valueOf(method), given);
          case null, default -> Optional.empty();
        };
    if (value.isPresent()) {
      context.setPropertyResolved(true);
      return value.get();
    }
    if (base instanceof String) { // Java's own, some of which know no bounds, are not Python's
      throw new MethodNotFoundException("a text has no method " + method);
    }
    if (base instanceof Collection || base instanceof Map) { // which may keep them
      TemplateBounds.requireElements(Arrays.asList(given));
    }
    return REST.invoke(context, base, method, types, arguments);
  }

  private static Optional<Object> ofText(String text, String method, Object[] given) {
    String first = given.length > 0 ? String.valueOf(given[0]) : BLANKS;
    Object value =
        switch (method) {
          case "startswith" -> text.startsWith(first);
          case "endswith" -> text.endsWith(first);
          case "strip" -> leftStripped(rightStripped(text, first), first);
          case "lstrip" -> leftStripped(text, first);
          case "rstrip" -> rightStripped(text, first);
          case "upper" -> text.toUpperCase(Locale.ROOT);
          case "lower" -> text.toLowerCase(Locale.ROOT);
          case "title" -> title(text);
          case "capitalize" ->
              text.isEmpty()
                  ? text
                  : text.substring(0, 1).toUpperCase(Locale.ROOT)
                      + text.substring(1).toLowerCase(Locale.ROOT);
          case "split" -> split(text, given);
          case "splitlines" -> text.lines().toList();
          case "replace" -> given.length == 2 ? replaced(text, first, given[1]) : null;
          case "find" -> (long) text.indexOf(first);
          default -> null;
        };
    return Optional.ofNullable(value);
  }

  private static String replaced(String text, String old, Object with) {
    TemplateBounds.requireReplaced(text, old, String.valueOf(with));
    return text.replace(old, String.valueOf(with));
  }

  private static Optional<Object> ofMap(Map<?, ?> map, String method, Object[] given) {
    return method.equals("get") && given.length == 2
        ? Optional.ofNullable(map.containsKey(given[0]) ? map.get(given[0]) : given[1])
        : Optional.empty();
  }

  private static List<String> split(String text, Object[] given) {
    if (given.length == 0) {
      return text.isBlank() ? List.of() : Arrays.asList(text.strip().split("\\s+", -1));
    }
    int limit = given.length > 1 ? ((Number) given[1]).intValue() + 1 : -1;
    return Arrays.asList(text.split(Pattern.quote(String.valueOf(given[0])), limit));
  }

  private static String title(String text) {
    return Pattern.compile("\\p{L}+")
        .matcher(text)
        .replaceAll(
            word ->
                word.group().substring(0, 1).toUpperCase(Locale.ROOT)
                    + word.group().substring(1).toLowerCase(Locale.ROOT));
  }

  private static String leftStripped(String text, String characters) {
    int start = 0;
    while (start < text.length() && characters.indexOf(text.charAt(start)) >= 0) {
      start++;
    }
    return text.substring(start);
  }

  private static String rightStripped(String text, String characters) {
    int end = text.length();
    while (end > 0 && characters.indexOf(text.charAt(end - 1)) >= 0) {
      end--;
    }
    return text.substring(0, end);
  }

  @Override
  public Object getValue(ELContext context, Object base, Object property) {
    if (base instanceof String && property instanceof String) {
      context.setPropertyResolved(true);
      return null; // undefined, as attributes of texts are
    }
    return REST.getValue(context, base, property);
  }

  @Override
  public Class<?> getType(ELContext context, Object base, Object property) {
    return REST.getType(context, base, property);
  }

  @Override
  public boolean isReadOnly(ELContext context, Object base, Object property) {
    return true;
  }

  @Override
  public void setValue(ELContext context, Object base, Object property, Object value) {
    REST.setValue(context, base, property, value);
  }

  @Override
  public Class<?> getCommonPropertyType(ELContext context, Object base) {
    return Object.class;
  }

  @Override
  public Iterator<FeatureDescriptor> getFeatureDescriptors(ELContext context, Object base) {
    return Collections.emptyIterator();
  }
}
