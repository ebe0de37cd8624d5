package org.eellm.serve.access;

import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.eellm.config.SettingException;

/**
 * The names under which browsers may ask the server. A page of another site can have a name of its
 * own that leads here (DNS rebinding), which makes the browser count the server as a part of that
 * site; but {@code Host} then still has that name. Addresses and {@code localhost} belong to no
 * site.
 *
 * @param own where the server listens
 * @param allowed names beside these; {@link #ANY} for all names
 */
public record HostNames(String own, Set<String> allowed) {
  /** The names of this machine alone. */
  public static final HostNames LOCAL = new HostNames("localhost", Set.of());

  /** In place of a name: any. */
  public static final String ANY = "*";

  private static final Pattern ADDRESS =
      Pattern.compile("[0-9]{1,3}(\\.[0-9]{1,3}){3}|\\[[0-9a-f:.]+]");

  private static final Pattern WITH_PORT = Pattern.compile("([^:]+|\\[.*]):[0-9]*");

  public HostNames {
    own = own.toLowerCase(Locale.ROOT);
    Set<String> names = new TreeSet<>();
    for (String name : allowed) {
      if (WITH_PORT.matcher(name).matches()) {
        throw new SettingException(
            "allow-host", "'%s' has a port; give the name alone, for all ports".formatted(name));
      }
      names.add(name.toLowerCase(Locale.ROOT));
    }
    allowed = Set.copyOf(names);
  }

  /** Whether a request for this {@code Host} is answered. */
  public boolean admits(String host) {
    String name = name(host);
    return ADDRESS.matcher(name).matches()
        || name.equals("localhost")
        || name.endsWith(".localhost")
        || name.equals(own)
        || allowed.contains(name)
        || allowed.contains(ANY);
  }

  /** Without the port, in small letters. */
  private static String name(String host) {
    String name = host.replaceFirst(":[0-9]*$", "").replaceFirst("\\.$", "");
    return name.toLowerCase(Locale.ROOT);
  }
}
