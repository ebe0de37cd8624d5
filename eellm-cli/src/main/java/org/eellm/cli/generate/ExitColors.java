package org.eellm.cli.generate;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.eellm.cli.option.PlainOutput;
import org.eellm.config.HeadId;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.Help.Ansi.IStyle;
import picocli.CommandLine.Help.Ansi.Style;

/** Colours for the heads of a model on a terminal; no colours elsewhere or with NO_COLOR. */
final class ExitColors {
  /** From the shallowest exit on, in xterm's 256 colours; readable on black and on white. */
  private static final List<String> PALETTE = List.of("34", "38", "63", "133", "166", "172");

  private static final String DRAFT_COLOR = "34";

  private final boolean enabled;
  private final boolean terminal;
  private final Map<HeadId, IStyle> styles = new LinkedHashMap<>();

  /**
   * @param exitLayers layers of the model's exits; the final head keeps the terminal's own colour
   */
  ExitColors(List<Integer> exitLayers, Ansi ansi) {
    enabled = ansi.enabled();
    // Without colours, as NO_COLOR asks for, there can still be a terminal.
    terminal = enabled || (System.console() != null && System.console().isTerminal());
    for (int i = 0; i < exitLayers.size(); i++) {
      styles.put(HeadId.exit(exitLayers.get(i)), Style.fg(PALETTE.get(i % PALETTE.size())));
    }
  }

  boolean enabled() {
    return enabled;
  }

  /**
   * Text in the colour of the head it left at. Generated characters must not command a terminal; a
   * file or pipe gets the text as it is.
   */
  String paint(String text, HeadId head) {
    IStyle style = styles.get(head);
    return style == null || !enabled ? visible(text) : paint(text, style);
  }

  /** Text that an exit drafted and the full model accepted. */
  String paintDraft(String text) {
    return enabled ? paint(text, Style.fg(DRAFT_COLOR)) : visible(text);
  }

  private String paint(String text, IStyle style) {
    return text.isEmpty() ? text : style.on() + visible(text) + style.off();
  }

  private String visible(String text) {
    return terminal ? PlainOutput.escape(text) : text;
  }

  /** The heads' names, each in its colour. */
  String legend() {
    List<String> names = new ArrayList<>();
    styles.keySet().forEach(head -> names.add(paint(name(head), head)));
    names.add("final head");
    return String.join("  ", names);
  }

  /** A head's name for people. */
  static String name(HeadId head) {
    return head.isExit() ? head.label() : "final head";
  }
}
