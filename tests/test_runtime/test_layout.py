"""The package's layout: import-linter holds the layers (`make lint`), and this the rest."""

import grimp


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph("github_s3_backup", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 50
    while imports:
        # Take away what imports nothing that is left; in a cycle each imports another one of it.
        done = {module for module, imported in imports.items() if not imported & imports.keys()}
        assert done, f"these import each other in a circle: {sorted(imports)}"
        imports = {module: imported for module, imported in imports.items() if module not in done}
