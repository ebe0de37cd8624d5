package org.eellm.cli.option;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Model.IGetter;
import picocli.CommandLine.Model.ISetter;
import picocli.CommandLine.Model.OptionSpec;

/**
 * The given values of options that come from a table rather than from fields.
 *
 * @param <K> lines of the table
 */
public final class GivenValues<K> {
  private final Map<K, Object> values = new HashMap<>();

  /** Begins an option whose value is kept for a line. */
  public OptionSpec.Builder option(K line, String name) {
    Value value = new Value(line);
    return OptionSpec.builder(name).getter(value).setter(value);
  }

  /** The value that was given last. */
  public Optional<Object> get(K line) {
    return Optional.ofNullable(values.get(line));
  }

  /** Takes what picocli reads; null where a command line begins anew. */
  private final class Value implements IGetter, ISetter {
    private final K line;

    Value(K line) {
      this.line = line;
    }

    @Override
    @SuppressWarnings({
      "unchecked",
      "TypeParameterUnusedInFormals",
      "NullAway"
    }) // as picocli has it
    public <T> T get() {
      return (T) values.get(line);
    }

    @Override
    public <T> T set(T value) {
      if (value == null) {
        values.remove(line);
      } else {
        values.put(line, value);
      }
      return value;
    }
  }
}
