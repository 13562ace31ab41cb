"""`python -m samclip_edge.cli`: the command line where its script is not on the path."""

from samclip_edge.cli import main

if __name__ == "__main__":
    main()
