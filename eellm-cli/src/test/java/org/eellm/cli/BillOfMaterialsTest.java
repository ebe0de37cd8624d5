package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Element;
import org.w3c.dom.Node;
import org.w3c.dom.NodeList;

/**
 * What {@code eellm-bom} gives those who import it. It has no parent or import, and profiles only
 * to publish it, so that what Maven makes of it is what stands in it.
 */
final class BillOfMaterialsTest {
  private final Element bom = pom("eellm-bom/pom.xml");
  private final Element build = pom("pom.xml");

  @Test
  void bom_managesOurArtifactsAlone() {
    assertThat(children(bom, "parent")).isEmpty();
    assertThat(children(children(bom, "profiles").getFirst(), "profile"))
        .allSatisfy(profile -> assertThat(children(profile, "dependencyManagement")).isEmpty());
    assertThat(children(bom, "dependencies")).isEmpty();
    assertThat(managed(bom))
        .isNotEmpty()
        .allSatisfy(
            dependency -> {
              assertThat(text(dependency, "groupId")).isEqualTo("org.eellm");
              assertThat(text(dependency, "version")).isEqualTo("${project.version}");
              assertThat(children(dependency, "scope")).isEmpty();
              assertThat(children(dependency, "type")).isEmpty();
            });
  }

  @Test
  void bom_hasTheBuildsVersionAndAllItsModules() {
    assertThat(text(bom, "version")).isEqualTo(text(build, "version"));
    assertThat(text(bom, "groupId")).isEqualTo(text(build, "groupId"));
    List<String> modules =
        children(children(build, "modules").getFirst(), "module").stream()
            .map(Node::getTextContent)
            .filter(name -> !name.equals("eellm-bom"))
            .toList();
    assertThat(managed(bom))
        .extracting(dependency -> text(dependency, "artifactId"))
        .containsExactlyInAnyOrderElementsOf(modules);
  }

  private static List<Element> managed(Element pom) {
    Element management = children(pom, "dependencyManagement").getFirst();
    return children(children(management, "dependencies").getFirst(), "dependency");
  }

  private static String text(Element of, String name) {
    return children(of, name).getFirst().getTextContent();
  }

  private static List<Element> children(Element of, String name) {
    NodeList all = of.getChildNodes();
    return IntStream.range(0, all.getLength())
        .mapToObj(all::item)
        .flatMap(node -> node instanceof Element element ? Stream.of(element) : Stream.empty())
        .filter(element -> element.getTagName().equals(name))
        .toList();
  }

  private static Element pom(String name) {
    Path file = RepositoryFiles.root().resolve(name);
    try {
      return DocumentBuilderFactory.newInstance()
          .newDocumentBuilder()
          .parse(file.toFile())
          .getDocumentElement();
    } catch (Exception e) {
      throw new AssertionError(file.toString(), e);
    }
  }
}
